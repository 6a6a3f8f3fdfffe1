// A service in Node that knows who is there: by the proxy's headers, or by asking the gateway.

import { createServer } from 'node:http'
import { introspect } from './introspect.mjs'

const cookieName = process.env.COOKIE_NAME // "__Host-clustertoken"

/** The value of the cookie; two of one name are an attack, and none. */
function cookieOf(request, name) {
  const pairs = (request.headers.cookie ?? '').split(';').map((pair) => pair.trim())
  const found = pairs.filter((pair) => pair.startsWith(`${name}=`))
  return found.length === 1 ? found[0].slice(name.length + 1) : undefined
}

async function whoIs(request, path) {
  // Let in by the proxy, which has asked already: it says who it is, percent-encoded. (Twice the
  // same header arrives with a comma, and no comma ever stands in it.)
  if (path !== '/orders/asked') return decodeURIComponent(request.headers['x-auth-subject'] ?? '')
  const token = cookieOf(request, cookieName)
  if (token === undefined) return ''
  const said = await introspect(token, cookieOf(request, `${cookieName}-bound`))
  return said.active ? said.sub : ''
}

const server = createServer(async (request, response) => {
  const path = new URL(request.url, 'http://here').pathname
  if (path === '/orders/health') return response.end('ok')
  let status = 200
  let subject = ''
  try {
    subject = await whoIs(request, path)
    if (subject === '' || subject.includes(',')) status = 401
  } catch {
    status = 503
  }
  response.writeHead(status, { 'content-type': 'application/json', 'cache-control': 'no-store' })
  response.end(JSON.stringify({ service: 'orders', subject, headers: request.rawHeaders }))
})
// Only the proxy reaches it: whoever else could would say what it likes in X-Auth-Subject.
server.listen(Number(process.env.PORT), '127.0.0.1')
