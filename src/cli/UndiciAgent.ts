/**
 * Makes the Undici agent of the command: as many connections as a job may have calls in flight, through the proxy that the
 * environment names, if it names one.
 *
 * It speaks HTTP/1.1. Over HTTP/2, Undici 8 takes an answer whose stream was reset for one that ended, and sends all
 * calls over one connection; if that is not made, they wait for it one after the other.
 *
 * A module of its own, so that Undici is loaded only by commands that send something. The import is static here, since
 * the platform's own way of loading Undici is one that a bundler cannot follow.
 */
import { Agent, EnvHttpProxyAgent } from "undici"
import * as Proxy from "./Proxy.ts"

const options = { connections: 1024, pipelining: 1, allowH2: false, bodyTimeout: 0, headersTimeout: 0 }

/** Makes an agent without timeouts of its own, since the client bounds every wait. */
export const make = (proxies: Proxy.Proxies | undefined): Agent | EnvHttpProxyAgent =>
  proxies === undefined ? new Agent(options) : new EnvHttpProxyAgent({
    ...options,
    // an empty one keeps it from reading the environment by itself
    httpProxy: proxies.http?.address ?? "",
    httpsProxy: proxies.https?.address ?? "",
    noProxy: Proxy.noProxy(proxies)
  })
