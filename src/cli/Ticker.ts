/** Draws progress while a job runs, and records what the lanes did in the job's report. */
import * as Effect from "effect/Effect"
import * as Stream from "effect/Stream"
import type * as Lane from "../guard/lane/Lane.ts"
import * as Lanes from "../guard/lane/Lanes.ts"
import * as Report from "../job/Report.ts"
import * as SteadyClock from "../job/SteadyClock.ts"
import * as Host from "./Host.ts"
import * as Pace from "./Pace.ts"
import * as Progress from "./Progress.ts"
import * as Standstill from "./Standstill.ts"
import * as Style from "./Style.ts"

/** Holds the times between two drawings; of plain lines, after so many, only each sixth is written: one a minute. */
export const defaults = {
  redraw: "150 millis",
  log: "10 seconds",
  dense: 60,
  sparse: 6,
  sample: "500 millis"
} as const

const statuses = Effect.gen(function*() {
  const lanes = yield* Lanes.Lanes
  return yield* Effect.forEach(yield* lanes.all, (lane) => lane.status)
})

const record = (report: Report.Report, lanes: ReadonlyArray<Lane.LaneStatus>, now: number, seconds: number): void => {
  const { inFlight, limit, pause, rate } = Progress.totals(lanes)
  Report.sample(report, now, {
    inFlight,
    limit,
    rate: Number.isFinite(rate) ? rate : undefined,
    pausedSeconds: pause > 0 ? Math.min(pause, seconds) : 0
  })
}

/** Records the state of the lanes twice a second, and every decision of every lane. */
export const recording = (report: Report.Report): Effect.Effect<never, never, Lanes.Lanes> =>
  Effect.scoped(Effect.gen(function*() {
    const lanes = yield* Lanes.Lanes
    const now = yield* SteadyClock.make
    const heard = new Set<string>()
    let last = now()
    const look = Effect.gen(function*() {
      for (const lane of yield* lanes.all) {
        if (heard.has(lane.key)) continue
        heard.add(lane.key)
        yield* Effect.forkScoped(
          Stream.runForEach(lane.decisions, (decision) =>
            Effect.sync(() =>
              Report.decision(report, {
                at: now(),
                lane: decision.lane,
                reason: Progress.why(decision),
                limit: decision.to
              })
            ))
        )
      }
      const at = now()
      record(report, yield* statuses, at, (at - last) / 1000)
      last = at
    })
    return yield* Pace.repeat(look, defaults.sample)
  }))

/** Draws what a view holds to standard error until it is interrupted, and then removes what it drew. */
const draw = <R>(host: Host.Service, view: Effect.Effect<Progress.View, never, R>): Effect.Effect<never, never, R> => {
  const style = Style.of(host.stderr)
  let drawn: ReadonlyArray<string> = []
  const redraw = Effect.map(view, (view) => {
    const { columns } = host.stderr
    const lines = Progress.lines(view, style, columns)
    host.writeError(Progress.redraw(drawn, lines, columns))
    drawn = lines
  })
  let looks = 0
  const log = Effect.map(view, (view) => {
    looks++
    // the log of a night is read in the morning
    if (looks <= defaults.dense || looks % defaults.sparse === 0) Host.say(host, `${Progress.line(view)}\n`)
  })
  const loop = host.stderr.redraw
    ? Pace.repeat(redraw, defaults.redraw)
    : Effect.andThen(Effect.andThen(view, Effect.sleep(defaults.log)), Pace.repeat(log, defaults.log))
  return Effect.ensuring(loop, Effect.sync(() => host.writeError(Progress.erase(drawn, host.stderr.columns))))
}

/** Draws the progress of a run; `batch` as in `View`. */
export const drawing = (
  report: Report.Report,
  standstill: Standstill.Standstill,
  host: Host.Service,
  batch = false
): Effect.Effect<never, never, Lanes.Lanes> =>
  Effect.flatMap(SteadyClock.make, (clock) => {
    const recent = Progress.recent()
    return draw(
      host,
      Effect.gen(function*() {
        const now = clock()
        Progress.remember(recent, report, now)
        return {
          report,
          lanes: yield* statuses,
          now,
          recent,
          batch,
          standstill: Standstill.now(standstill, report.startedAt)
        }
      })
    )
  })

/**
 * Draws how much of a simulation is computed, and when the computation ends. Runs beside the virtual time, and looks at
 * no lane: a look at an instant of its own could change what the lane does next.
 */
export const computing = (report: Report.Report, host: Host.Service): Effect.Effect<never> =>
  Effect.flatMap(SteadyClock.make, (clock) => {
    const recent = Progress.recent()
    const startedAt = clock()
    return draw(
      host,
      Effect.sync(() => {
        const now = clock()
        Progress.remember(recent, report, now)
        return { report: { ...report, startedAt }, lanes: undefined, now, recent }
      })
    )
  })
