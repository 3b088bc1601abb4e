/**
 * Tests what a program does when Together misbehaves: fast, deterministic, without a network.
 *
 * `TogetherTest` stands in for the provider, `Fault` and `Faults` spoil what any provider says, `FaultMatrix` tries
 * every fault at every request, `Recorder` replays real exchanges, and `VirtualClock` makes all of it take no time.
 */

/** Serves a simulated provider on a port, to any SDK. */
export * as Emulator from "./Emulator.ts"
/** Describes one thing that goes wrong with one exchange. */
export * as Fault from "./Fault.ts"
/** Lists the kinds of trouble that a fault matrix tries. */
export * as FaultMatrixKinds from "./FaultMatrixKinds.ts"
/** Runs a program once per call and fault, and says which combinations end badly. */
export * as FaultMatrix from "./FaultMatrix.ts"
/** Plans what goes wrong and when, and wraps any client or server. */
export * as Faults from "./Faults.ts"
/** Records real exchanges to a redacted cassette and replays them. */
export * as Recorder from "./Recorder.ts"
/** Describes what the provider answers to one request. */
export * as Reply from "./Reply.ts"
/** Shows and matches requests as the provider sees them. */
export * as Sent from "./Sent.ts"
/** Stands in for Together by a simulation, in process. */
export * as SimulatedProvider from "./SimulatedProvider.ts"
/** Models the provider as a pure function: limits, credits, latency, faults. */
export * as Simulation from "./Simulation.ts"
/** Stands in for Together in a test. */
export * as TogetherTest from "./TogetherTest.ts"
/** Runs an effect to its end in virtual time. */
export * as VirtualClock from "./VirtualClock.ts"
/** Records every exchange of a client: attempts, times, sockets. */
export * as Wiretap from "./Wiretap.ts"
