// Whose token is this? Asks the gateway, and believes it for as long as it says.

const gateway = process.env.GATEWAY // http://127.0.0.1:9000
const caller = process.env.GATEWAY_TOKEN // an API token with the scope "introspect"
const known = new Map()

/**
 * What RFC 7662 says of `token`; not active: { active: false }. Throws where nobody can know.
 * Of a login that is bound to a device `bound` is needed, too: the cookie …-bound.
 */
export async function introspect(token, bound = '') {
  const now = performance.now() // (a clock that nobody sets)
  const key = `${token} ${bound}`
  const kept = known.get(key)
  if (kept && now < kept.until) return kept.said
  known.delete(key)
  const answer = await fetch(`${gateway}/introspect`, {
    method: 'POST',
    headers: { authorization: `Bearer ${caller}` },
    body: new URLSearchParams({ token, bound_token: bound }),
    signal: AbortSignal.timeout(3000),
  })
  // A 503 is no "no": answer 503, too, and leave the cookie alone.
  if (answer.status !== 200) throw new Error(`the gateway answered ${answer.status}`)
  const said = await answer.json()
  const age = /max-age=(\d+)/.exec(answer.headers.get('cache-control') ?? '')
  if (age) {
    if (known.size >= 10000) known.clear()
    // From the moment of the question on: on its way the answer may have grown old.
    known.set(key, { said, until: now + 1000 * Number(age[1]) })
  }
  return said
}
