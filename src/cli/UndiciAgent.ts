/**
 * Makes the Undici agent of the command: as many connections as a job may have calls in flight.
 *
 * A module of its own, so that Undici is loaded only by commands that send something. The import is static here, since
 * the platform's own way of loading Undici is one that a bundler cannot follow.
 */
import { Agent } from "undici"

/** Makes an agent without timeouts of its own: the client bounds every silence. */
export const make = (): Agent => new Agent({ connections: 1024, pipelining: 1, bodyTimeout: 0, headersTimeout: 0 })
