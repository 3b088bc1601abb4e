/**
 * What is due, as an immutable priority queue: a leftist heap of plain objects.
 *
 * Ordered by time, then by order of entry. `push` and `pop` take `O(log n)` and
 * leave the old agenda as it was, so a state of the simulation can be kept,
 * compared and gone back to.
 *
 * **Source**: Okasaki, Purely Functional Data Structures, section 3.1.
 */

/** Holds one entry of an agenda. */
export interface Entry<A> {
  readonly at: number
  readonly order: number
  readonly what: A
}

/** Holds what is due, the earliest first; `undefined` is the empty agenda. */
export type Agenda<A> = Node<A> | undefined

interface Node<A> {
  readonly entry: Entry<A>
  readonly rank: number
  readonly left: Agenda<A>
  readonly right: Agenda<A>
}

const before = <A>(a: Entry<A>, b: Entry<A>): boolean => a.at < b.at || (a.at === b.at && a.order <= b.order)

const node = <A>(entry: Entry<A>, a: Agenda<A>, b: Agenda<A>): Node<A> =>
  (a?.rank ?? 0) >= (b?.rank ?? 0)
    ? { entry, rank: (b?.rank ?? 0) + 1, left: a, right: b }
    : { entry, rank: (a?.rank ?? 0) + 1, left: b, right: a }

// the right spine of a leftist heap has at most log2(n + 1) nodes: the recursion is shallow
const merge = <A>(a: Agenda<A>, b: Agenda<A>): Agenda<A> => {
  if (a === undefined) return b
  if (b === undefined) return a
  return before(a.entry, b.entry)
    ? node(a.entry, a.left, merge(a.right, b))
    : node(b.entry, b.left, merge(a, b.right))
}

/** Adds an entry. */
export const push = <A>(agenda: Agenda<A>, entry: Entry<A>): Agenda<A> =>
  merge(agenda, { entry, rank: 1, left: undefined, right: undefined })

/** Reads the earliest entry. */
export const peek = <A>(agenda: Agenda<A>): Entry<A> | undefined => agenda?.entry

/** Drops the earliest entry. */
export const pop = <A>(agenda: Agenda<A>): Agenda<A> =>
  agenda === undefined ? undefined : merge(agenda.left, agenda.right)
