// Drives a service with @ipfs-shipyard/pinning-service-client, which Helia
// and the compliance suite are built on, as a user of the package would.
//
//   node client.mjs ENDPOINT TOKEN
//
// Prints one line for each step that holds; ends with exit code 1 at the
// first that does not.
import assert from 'node:assert/strict'
import { createHash } from 'node:crypto'
import { Configuration, RemotePinningServiceClient, Status, TextMatchingStrategy } from '@ipfs-shipyard/pinning-service-client'
import { CID } from 'multiformats/cid'
import * as Digest from 'multiformats/hashes/digest'

const [endpointUrl, accessToken] = process.argv.slice(2)
const client = new RemotePinningServiceClient(new Configuration({ endpointUrl, accessToken }))
const everyStatus = [Status.Queued, Status.Pinning, Status.Pinned, Status.Failed]

/** The CID of content that nobody has. */
const unknown = text => CID.create(1, 0x55, Digest.create(0x12, createHash('sha256').update(text).digest())).toString()
const add = async pin => client.pinsPost({ pin })
const list = async query => client.pinsGet({ status: everyStatus, ...query })
const names = page => page.results.map(({ pin }) => pin.name)
const step = async (what, fn) => { await fn(); console.log(`ok ${what}`) }

/** Wants a call to be refused with the status and the reason. */
const refused = async (call, status, reason) => {
  const response = await call.then(() => assert.fail('the call was not refused'), err => err.response ?? err)
  assert.equal(response.status, status)
  assert.equal((await response.json()).error.reason, reason)
}

const n = 25
let first
await step('adds pins', async () => {
  for (let i = 0; i < n; i++) {
    const status = await add({ cid: unknown(`js ${i}`), name: `Pin ${i}`, meta: { index: `${i}`, 'a key': '"x" = 1' } })
    assert.equal(status.pin.name, `Pin ${i}`)
    assert.ok(status.delegates.length > 0)
    first ??= status
  }
})
await step('gets one by its request ID', async () => {
  const got = await client.pinsRequestidGet({ requestid: first.requestid })
  assert.equal(got.requestid, first.requestid)
  assert.equal(got.pin.cid, first.pin.cid)
  assert.deepEqual(got.pin.meta, { index: '0', 'a key': '"x" = 1' })
  assert.equal(got.created.getTime(), first.created.getTime())
})
await step('lists ten, newest first, when no limit is given', async () => {
  const page = await list({})
  assert.equal(page.count, n)
  assert.deepEqual(names(page), Array.from({ length: 10 }, (_, i) => `Pin ${n - 1 - i}`))
})
for (const [cursor, last] of [['before', page => page.results.at(-1)], ['after', page => page.results[0]]]) {
  await step(`sees every pin once, paging by ${cursor}`, async () => {
    // "after" walks towards the newest: it starts at the oldest pin, and
    // takes the whole rest each time.
    const seen = []
    let query = cursor === 'before' ? {} : { after: new Date(first.created.getTime() - 1), limit: 1000 }
    for (;;) {
      const page = await list(query)
      if (page.results.length === 0) break
      seen.push(...names(page))
      query = { ...query, [cursor]: last(page).created }
    }
    assert.deepEqual(seen.toSorted(), Array.from({ length: n }, (_, i) => `Pin ${i}`).toSorted())
  })
}
await step('filters by name in the four ways', async () => {
  for (const [match, name, want] of [
    [TextMatchingStrategy.Exact, 'Pin 7', ['Pin 7']],
    [TextMatchingStrategy.Exact, 'pin 7', []],
    [TextMatchingStrategy.Iexact, 'pin 7', ['Pin 7']],
    [TextMatchingStrategy.Partial, 'in 2', ['Pin 24', 'Pin 23', 'Pin 22', 'Pin 21', 'Pin 20', 'Pin 2']],
    [TextMatchingStrategy.Ipartial, 'IN 24', ['Pin 24']]
  ]) {
    const page = await list({ name, match })
    assert.deepEqual(names(page), want, `${match} ${name}`)
    assert.equal(page.count, want.length)
  }
})
await step('filters by meta and by cid', async () => {
  assert.deepEqual(names(await list({ meta: { index: '3' } })), ['Pin 3'])
  assert.deepEqual(names(await list({ meta: { index: '3', other: '' } })), [])
  assert.deepEqual(names(await list({ cid: [unknown('js 4'), unknown('js 5')] })), ['Pin 5', 'Pin 4'])
})
await step('replaces by another CID', async () => {
  const status = await client.pinsRequestidPost({ requestid: first.requestid, pin: { cid: unknown('js other'), name: 'other' } })
  assert.equal(status.pin.name, 'other')
  assert.notEqual(status.requestid, first.requestid)
  await refused(client.pinsRequestidGet({ requestid: first.requestid }), 404, 'NOT_FOUND')
})
await step('replaces by the same CID and loses nothing', async () => {
  const cid = unknown('js other')
  const [old] = (await list({ cid: [cid] })).results
  const status = await client.pinsRequestidPost({ requestid: old.requestid, pin: { cid, meta: { changed: 'yes' } } })
  assert.equal(status.requestid, old.requestid)
  assert.equal(status.created.getTime(), old.created.getTime())
  assert.deepEqual(status.pin.meta, { changed: 'yes' })
  const page = await list({ meta: { changed: 'yes' } })
  assert.equal(page.count, 1)
})
await step('deletes them all', async () => {
  for (const { requestid } of (await list({ limit: 1000 })).results) {
    await client.pinsRequestidDelete({ requestid })
  }
  assert.equal((await list({})).count, 0)
  await refused(client.pinsRequestidDelete({ requestid: first.requestid }), 404, 'NOT_FOUND')
})
await step('is refused without a good token', async () => {
  for (const token of [undefined, 'bad']) {
    const stranger = new RemotePinningServiceClient(new Configuration({ endpointUrl, accessToken: token }))
    await refused(stranger.pinsGet({}), 401, 'UNAUTHORIZED')
  }
})
