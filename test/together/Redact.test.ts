import { describe, expect, it } from "@effect/vitest"
import { maxBodyLength, narrowed, redact } from "../../src/together/redact/Redact.ts"

const unicode = (text: string): string => `\\u${text.charCodeAt(0).toString(16).padStart(4, "0")}`

/** What writers of JSON make of a string, without its quotes. */
const writers: ReadonlyArray<readonly [name: string, write: (text: string) => string]> = [
  ["as JavaScript does", (text) => JSON.stringify(text).slice(1, -1)],
  ["in ASCII", (text) => JSON.stringify(text).slice(1, -1).replace(/[\u0080-\uffff]/g, unicode)],
  ["in ASCII, upper case", (text) =>
    JSON.stringify(text).slice(1, -1).replace(
      /[\u0080-\uffff]/g,
      (char) => `\\u${unicode(char).slice(2).toUpperCase()}`
    )],
  ["safe for HTML", (text) => JSON.stringify(text).slice(1, -1).replace(/[<>&\u2028]/g, unicode)],
  ["with its slashes escaped", (text) => JSON.stringify(text).slice(1, -1).replaceAll("/", "\\/")],
  ["all of it as escapes", (text) => text.replace(/[^]/g, unicode)]
]

const prompt = "<b>Übersetze</b>: \"der Patient\\die Patientin\"\nheißt Karl 😀 Maier"

describe("redact", () => {
  it.each(writers)("knows a prompt that is written %s, and leaves JSON what it is", (_, write) => {
    const body = `{"error": {"message":"bad: ${write(prompt)}, sorry","code":400}}`
    const expected = "{\"error\": {\"message\":\"bad: [prompt], sorry\",\"code\":400}}"
    expect(redact(body, { prompts: [prompt] })).toBe(expected)
    const inner = `{"message":"bad: ${write(prompt)}, sorry"}`
    const outer = `{"error":"upstream said ${write(inner)}"}`
    expect(redact(outer, { prompts: [prompt] })).toBe(
      `{"error":"upstream said ${write(inner).replace(write(write(prompt)), "[prompt]")}"}`
    )
  })

  it.each(writers)("drops the rest where a prompt written %s is cut off", (_, write) => {
    const body = `{"error":"bad: ${write(prompt.slice(0, 30))}… and more"}`
    expect(redact(body, { prompts: [prompt] })).toBe("{\"error\":\"bad: [prompt]")
  })

  it.each<[string, (text: string) => string]>([
    [
      "for HTML",
      (text) => text.replace(/[<>&"]/g, (char) => `&${{ "<": "lt", ">": "gt", "&": "amp", "\"": "quot" }[char]};`)
    ],
    ["for HTML by numbers", (text) => text.replace(/[<>&"'Ü😀]/gu, (char) => `&#${char.codePointAt(0)};`)],
    [
      "for HTML by hexadecimal numbers",
      (text) => text.replace(/[<>"]/g, (char) => `&#x${char.charCodeAt(0).toString(16)};`)
    ],
    ["as JSON in HTML", (text) => JSON.stringify(text).slice(1, -1).replaceAll("\"", "&quot;")],
    ["in an address", encodeURIComponent],
    ["in an address, in lower case", (text) => encodeURIComponent(text).replace(/%../g, (code) => code.toLowerCase())],
    ["in a form", (text) => new URLSearchParams({ x: text }).toString().slice(2)]
  ])("knows a prompt that is written %s, whole and in part", (_, write) => {
    for (const prompts of [[prompt], () => [prompt]]) {
      expect(redact(`<p>bad: ${write(prompt)}, sorry &amp; 5%</p>`, { prompts })).toBe(
        "<p>bad: [prompt], sorry &amp; 5%</p>"
      )
      expect(redact(`bad: ${write(prompt.slice(0, 40))} …`, { prompts })).toBe("bad: [prompt]")
      expect(redact(`bad: …${write(prompt.slice(20))}, sorry`, { prompts })).toBe("bad: …[prompt], sorry")
    }
  })

  it("drops the rest where a prompt is cut off that starts with a key", () => {
    const secrets = { apiKey: "my-test1", prompts: ["my-test1 is the word that Karl Maier keeps in mind"] }
    expect(redact("bad: my-test1 is the word that K*rl M*ier keeps", secrets)).toBe("bad: [prompt]")
    expect(redact("bad: my-test1 is no word", secrets)).toBe("bad: [key] is no word")
  })

  it("knows a prompt of words alone in a form, which escapes nothing but its spaces", () => {
    const words = "Tell me all about Karl Maier and his illness"
    const written = new URLSearchParams({ x: words }).toString().slice(2)
    expect(written).not.toContain("%")
    for (const prompts of [[words], () => [words]]) {
      expect(redact(`no page at /ask?x=${written}&y=1`, { prompts })).toBe("no page at /ask?x=[prompt]&y=1")
      expect(redact(`bad: …${written.slice(10)}, 1+1`, { prompts })).toBe("bad: …[prompt], 1+1")
      expect(redact(`bad: ${written.slice(0, 30)} …`, { prompts })).toBe("bad: [prompt]")
    }
  })

  it("knows a prompt whose start was cut away by its end, and by no less than that", () => {
    const text = "Please write to Karl Maier, Hauptstraße 7, about his illness"
    const end = (length: number) => redact(`…${text.slice(-length)} (400)`, { prompts: [text] })
    expect([24, 40, text.length].map(end)).toEqual(["…[prompt] (400)", "…[prompt] (400)", "…[prompt] (400)"])
    expect(end(10)).toBe("…is illness (400)")
  })

  describe("where a part is quoted, or it is written anew", () => {
    const text = "Please write to Karl Maier,\n\u00c4hrenweg 7, about his ILLNESS and all that follows from it"
    const prompts = [text]

    it("knows a stretch of its middle, and the words around it stay", () => {
      expect(redact(`near '${text.slice(10, 50)}' (400)`, { prompts })).toBe("near '[prompt]' (400)")
      for (let from = 1; from + 24 < text.length; from++) {
        expect(redact(`near "${text.slice(from, from + 24)}" (400)`, { prompts })).toBe("near \"[prompt]\" (400)")
      }
    })

    it("leaves a stretch that is too short to give it away", () => {
      expect(redact(`near '${text.slice(16, 36)}' (400)`, { prompts })).toContain("Karl Maier")
    })

    it("knows twelve characters of its start or end beside an ellipsis", () => {
      const cut = (said: string) => redact(`bad: {'content': '${said}'}`, { prompts })
      expect(cut(`a...${text.slice(-14)}`)).toBe("bad: {'content': 'a...[prompt]'}")
      expect(cut(`a\u2026 ${text.slice(-14)}`)).toBe("bad: {'content': 'a\u2026 [prompt]'}")
      expect(cut(`${text.slice(0, 14)}... 60 more`)).toBe("bad: {'content': '[prompt]... 60 more'}")
      expect(cut(`${text.slice(0, 14)} and more`)).toContain("Please write")
      expect(cut(`...${text.slice(16, 36)}...`)).toBe("bad: {'content': '...[prompt]...'}")
    })

    it("knows it whatever its case and its white space", () => {
      expect(redact(`bad: ${text.toUpperCase()}!`, { prompts: ["x".repeat(20), text] })).toBe("bad: [prompt]!")
      expect(redact(`bad: ${text.replace(/\s/g, "  \t")}!`, { prompts })).toBe("bad: [prompt]!")
      expect(redact(`bad: \u0130 ${text.toLowerCase()}!`, { prompts })).toBe("bad: \u0130 [prompt]!")
    })

    it.each(["base64", "base64url"] as const)("knows it in %s, alone or inside of more", (encoding) => {
      const encode = (said: string) => Buffer.from(said).toString(encoding)
      expect(redact(`bad: ${encode(text)}.`, { prompts })).toBe("bad: [prompt].")
      expect(redact(`bad: ${encode(`{"content":${JSON.stringify(text)}}`)}`, { prompts })).toBe("bad: [prompt]")
      const other = `bad: ${encode("nothing of it, whatever it is")}`
      expect(redact(other, { prompts })).toBe(other)
    })

    it.each([
      "Пациент Иван Петров, диагноз",
      "病人卡尔·迈尔的地址是柏林的主要街道七号，电话是五五五零一",
      "Übersetze 😀 für Karl Maier und Anna"
    ])(
      "knows it as bytes that Python shows: %s",
      (said) => {
        const byte = (code: number) => code < 128 ? String.fromCharCode(code) : `\\x${code.toString(16)}`
        const shown = `b'${Array.from(new TextEncoder().encode(said), byte).join("")}\\n'`
        expect(redact(`bad: ${shown}`, { prompts: [said] })).toBe("bad: b'[prompt]\\n'")
        const body = JSON.stringify({ message: `bad: ${shown}` })
        expect(redact(body, { prompts: [said] })).toBe("{\"message\":\"bad: b'[prompt]\\\\n'\"}")
      }
    )

    it("knows it in an address inside of an address", () => {
      const twice = encodeURIComponent(encodeURIComponent(text))
      expect(redact(`no page at /go?to=${twice}&x=1`, { prompts })).toBe("no page at /go?to=[prompt]&x=1")
    })
  })

  it.each<[string, (key: string) => string]>([
    ["as it is", (key) => key],
    ["as JSON does", (key) => JSON.stringify(key).slice(1, -1).replaceAll("/", "\\/")],
    ["for HTML", (key) => key.replaceAll("&", "&amp;").replaceAll("\"", "&quot;")],
    ["in an address", encodeURIComponent],
    ["in Base64", btoa]
  ])("knows a key and the value of a header of odd characters, written %s", (_, write) => {
    const secret = "ab/cd+ef\"gh&ij kl"
    expect(redact(`bad key (${write(secret)}) here`, { apiKey: secret, prompts: [] })).toBe("bad key ([key]) here")
    expect(redact(`bad (${write(secret)}) here`, { headers: [secret], prompts: [] })).toBe("bad ([header]) here")
  })

  it("takes a key of three characters for a word", () => {
    expect(redact("asked for k and abc, not abcd", { apiKey: "k", prompts: [] })).toBe("asked for k and abc, not abcd")
    expect(redact("asked for abc, not abcd", { apiKey: "abcd", prompts: [] })).toBe("asked for abc, not [key]")
  })

  it("keeps what is said behind a key of which the provider shows both ends", () => {
    const said = "Incorrect API key provided: tgp_v1_abcdef...6789. Find your key on the settings page."
    expect(redact(said, { apiKey: "tgp_v1_abcdef-0123456789-0123456789", prompts: [] })).toBe(
      "Incorrect API key provided: [key]...6789. Find your key on the settings page."
    )
  })

  it("knows a key of seven characters as a word by itself", () => {
    const said = (text: string) => redact(text, { apiKey: "my-test", prompts: [] })
    expect(said("no: 'my-test', my-tests, {\"key\":\"\\nmy-test\"}")).toBe(
      "no: '[key]', my-tests, {\"key\":\"\\n[key]\"}"
    )
    expect(redact("no: xmy-test1y", { apiKey: "my-test1", prompts: [] })).toBe("no: x[key]y")
  })

  it.each([
    "tgp_v1_abcdefghijklmnopqrst",
    "sk-abcdefghijklmnopqrst",
    "sk-0123456789abcdefghij",
    "tok_AbCdefgh-ijklmnop",
    "key-1234-5678-9012-3456",
    "0a".repeat(32),
    "Bearer aGVsbG8gd29ybGQ=",
    "bearer s3cr3t-k3y"
  ])("takes what looks like a key out: %s", (key) => {
    expect(redact(`refused (${key}) here`, { prompts: [] })).toBe("refused ([key]) here")
  })

  it.each([
    "Missing bearer authentication in header",
    "Use 'Authorization: Bearer TOGETHER_API_KEY'",
    "Unknown parameter: 'key_points_of_the_document'",
    "The model my-org/key-extraction-model-v2 does not exist",
    "file key-value-store-export.jsonl not found",
    "See https://docs.together.ai/docs/tok-per-second-and-throughput"
  ])("leaves words and names that begin as a key does: %s", (said) => {
    expect(redact(said, { prompts: [] })).toBe(said)
  })

  it("takes out all of a longer prompt around a short one", () => {
    const prompts = ["Hello there!", "aqqqqqqqqqqqHello there!zzzzzzzzzzzyyyy"]
    const said = "bad value 'qqqqqqqqqqqHello there!zzzzzzzzzzz' given"
    expect(redact(said, { prompts })).toBe("bad value '[prompt]' given")
  })

  it.each(["0.0, ", "abcdef "])("looks through a long prompt that repeats %j in good time", (unit) => {
    const text = `bad input ${unit.repeat(1500)}`
    expect(redact(text, { prompts: [`[${unit.repeat(300_000)}`] })).toMatch(/^bad input ?\[prompt\]\W{0,2}$/)
  }, 2000)

  it("looks through what repeats itself in good time", () => {
    const text = `${"a".repeat(20)}c`.repeat(400)
    expect(redact(text, { prompts: [`${"a".repeat(22)}b`.repeat(9000)] })).toHaveLength(maxBodyLength)
  }, 1000)

  it("leaves a text without secrets as it came", () => {
    const body = "{ \"error\" : \"line\\n\\u00fc \\/ 12345678901234567890\" }"
    expect(redact(body, { prompts: [prompt, "a word"], headers: ["s3cr3t"] })).toBe(body)
  })

  it("replaces prompts that overlap once, and is not misled by a prompt that begins like another", () => {
    const short = "The quick brown fox jumps over"
    const long = `${short} the lazy dog`
    for (const prompts of [[short, long], [long, short]]) {
      expect(redact(`a ${long} b ${short} c`, { prompts })).toBe("a [prompt] b [prompt] c")
    }
  })

  it("knows a prompt whose space around it the provider trimmed", () => {
    const prompts = ["  Please tell me about the secret\n", "        short      "]
    expect(redact("Bad: 'Please tell me about the secret', short", { prompts })).toBe("Bad: '[prompt]', short")
  })

  it("reads many prompts when there is something to redact, once for all texts, and keeps those that may be quoted", () => {
    let reads = 0
    const many = function*() {
      reads++
      for (let at = 0; at < 1000; at++) yield ` the patient ${at} is "Karl"\n`
      yield prompt
    }
    const body = `{"error":${JSON.stringify(`bad: the patient 17 is "Karl", ${prompt}`)}}`
    expect(redact(body, { prompts: many })).toBe("{\"error\":\"bad: [prompt], [prompt]\"}")
    const secrets = narrowed(["bad: the patient 17", body], { prompts: many })
    expect([reads, secrets.prompts.length]).toEqual([2, 1001])
    expect(narrowed(["a text without any of them"], { prompts: many }).prompts).toEqual([])
    expect([narrowed(["short"], { prompts: many }).prompts, reads]).toEqual([[], 3])
    expect(narrowed(["short"], { prompts: "unknown" }).prompts).toBe("unknown")
  })

  it("keeps of a long prompt what may be quoted, and takes the same out by that as by all of it", () => {
    let state = 5
    const draw = () => (state = (Math.imul(state, 1_664_525) + 1_013_904_223) >>> 0)
    const picture = Array.from({ length: 34_000 }, () => draw().toString(36)).join("")
    const most = 65_536
    const places = [0, 9, most - 12, most - 1, most, most + 22, 2 * most - 40, 3 * most, picture.length - 50]
    for (const at of places) {
      const body = `bad: ...${picture.slice(at, at + 50)}, not a picture; ...${picture.slice(at + 3, at + 18)}...`
      const secrets = narrowed([body], { prompts: [picture] })
      expect(String(secrets.prompts).length).toBeLessThan(2.1 * most)
      const redacted = redact(body, { prompts: [picture] })
      expect([redact(body, secrets), redacted.includes(picture.slice(at, at + 20))]).toEqual([redacted, false])
    }
  })

  it("finds what of many prompts lacks its start, in one stretch and behind it", () => {
    const words = "the quick brown fox jumps over the lazy dog again and ".repeat(40)
    const prompts = Array.from({ length: 200 }, (_, index) => `input ${index} ${words.slice(0, 300 + index)}`)
    const end = prompts[7]?.slice(-40) ?? ""
    const body = `(${words.slice(4, 900)}; between ${end}; ${end} after`
    expect(redact(body, { prompts })).toBe("([prompt]; between [prompt]; [prompt] after")
  })

  it("replaces the values of headers, but no words", () => {
    expect(redact("proxy says no to s3cr3t-of-mine and true", { prompts: [], headers: ["s3cr3t-of-mine", "true"] }))
      .toBe("proxy says no to [header] and true")
  })

  it("bounds what it keeps, and keeps no start of a prompt that it did not read to its end", () => {
    const word = "Karl Maier is the patient of this letter"
    for (let before = 7900; before < 8000; before += 3) {
      const text = `${word}${" ".repeat(before)}${word}`.replace(" ".repeat(before), ` ${"x".repeat(before)} `)
      const kept = redact(text, { prompts: [word, "x".repeat(before)] })
      expect(kept.length).toBeLessThanOrEqual(maxBodyLength)
      expect(kept).not.toMatch(/Kar|Mai/)
    }
  })

  it("keeps no start of one whose bytes are escaped twice either: each character is fifteen then", () => {
    const prompt = "患者はカール・マイヤーさんで、この手紙は彼の病気について書かれたものです"
    const escaped = [...new TextEncoder().encode(prompt)].map((byte) => `\\\\x${byte.toString(16)}`).join("")
    const filler = "x".repeat(7500)
    for (let read = 1; read <= 450; read += 90) {
      const text = `${filler}${" ".repeat(500 - read)}${escaped}`
      expect(redact(text, { prompts: [filler, prompt] })).not.toContain("\\x")
    }
  })

  it("reads a long text of many escapes and a long prompt in good time", () => {
    const text = "\\u0061\\\\".repeat(200_000)
    const prompts = Array.from({ length: 100 }, (_, index) => "a\\".repeat(5000 + index))
    expect(redact(text, { prompts })).toBe("[prompt]…")
  })

  describe("where the prompts are unknown", () => {
    it("keeps the shape of a JSON and the words of its kind", () => {
      const body = {
        error: { message: "line 1: Karl Maier", type: "invalid_request_error", param: "file", code: null, at: 1234 },
        errors: ["Karl", { "Karl Maier": 1, status: 400, code: "Karl Maier" }]
      }
      expect(JSON.parse(redact(JSON.stringify(body), { prompts: "unknown" }))).toEqual({
        error: { message: "[withheld]", type: "invalid_request_error", param: "file", code: null, at: "[withheld]" },
        errors: ["[withheld]", { status: 400, code: "[withheld]" }]
      })
    })

    it.each(["Karl Maier", "<h1>Karl Maier</h1>", "[".repeat(100_000), JSON.stringify(Array(2000).fill("Karl"))])(
      "keeps nothing of anything else",
      (text) => {
        expect(redact(text, { prompts: "unknown" })).toBe("[withheld]")
      }
    )
  })
})
