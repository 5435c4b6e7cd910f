// @polkadot/api from npm, unmodified: node polkadot.mjs ENDPOINT NETUID HOTKEY SENDER RECEIVER
// SENDER is a development URI with money, RECEIVER an address without. One JSON document a flow:
// what was found, to be compared with the chain, or the client's words.
import { ApiPromise, Keyring, WsProvider } from '@polkadot/api'

const PATIENCE_MS = 60_000
const [endpoint, netuid, hotkey, sender, receiver] = process.argv.slice(2)
const api = new ApiPromise({ provider: new WsProvider(endpoint), noInitWarn: true })

async function flow (name, run) {
  let timer
  const late = new Promise((resolve, reject) => {
    timer = setTimeout(() => reject(new Error(`no answer in ${PATIENCE_MS / 1000} s`)), PATIENCE_MS)
  })
  let found = null
  let words = ''
  try {
    found = await Promise.race([run(), late])
  } catch (error) {
    words = String(error.message || error).split('\n')[0]
  }
  clearTimeout(timer)
  console.log(JSON.stringify({ flow: name, found, words }))
}

/** The first two values of a subscription, as `show` has them. */
async function hearTwo (subscribe, show) {
  let stop
  const heard = await new Promise((resolve, reject) => {
    const heard = []
    subscribe((value) => {
      heard.push(show(value))
      if (heard.length === 2) resolve(heard)
    }).then((unsubscribe) => { stop = unsubscribe }, reject)
  })
  stop()
  return heard
}

const showHead = (head) => ({ number: head.number.toNumber(), hash: head.hash.toHex() })
const pay = (amount) => api.tx.balances.transferKeepAlive(receiver, amount)

await flow('connect', async () => {
  await api.isReadyOrError
  const chain = (await api.rpc.system.chain()).toString()
  return { genesis: api.genesisHash.toHex(), chain, spec: api.runtimeVersion.specVersion.toNumber() }
})
const payer = new Keyring({ type: 'sr25519', ss58Format: 42 }).addFromUri(sender)

await flow('rpc_methods', async () => (await api.rpc.rpc.methods()).methods.map(String))
await flow('metadata V15', async () => ({
  version: api.runtimeMetadata.version,
  description: (await api.call.subnetInfoRuntimeApi.getDynamicInfo(netuid)).toJSON()
}))
await flow('storage', async () => (await api.query.subtensorModule.uids(netuid, hotkey)).toJSON())
await flow('storage map', async () => {
  const entries = await api.query.subtensorModule.networksAdded.entries()
  return entries.map(([key, value]) => [key.args[0].toNumber(), value.toJSON()])
})
await flow('derive', async () => ({
  best: (await api.derive.chain.bestNumber()).toNumber(),
  free: (await api.derive.balances.all(payer.address)).freeBalance.toString()
}))
await flow('subscribeNewHeads', () => hearTwo((f) => api.rpc.chain.subscribeNewHeads(f), showHead))
await flow('subscribeFinalizedHeads', () => hearTwo(
  (f) => api.rpc.chain.subscribeFinalizedHeads(f), showHead))
await flow('subscribeStorage', () => hearTwo(
  (f) => api.query.timestamp.now(f),
  (now) => ({ now: now.toNumber(), block: now.createdAtHash.toHex() })))
await flow('paymentInfo', async () => (await pay(200_000_000).paymentInfo(payer)).partialFee.toString())
await flow('submitAndWatchExtrinsic', () => new Promise((resolve, reject) => {
  const states = []
  pay(200_000_000).signAndSend(payer, ({ status, dispatchError }) => {
    states.push(status.type)
    if (dispatchError) reject(new Error(dispatchError.toString()))
    else if (status.isFinalized) resolve({ block: status.asFinalized.toHex(), states })
    else if (status.isInvalid || status.isDropped) reject(new Error(status.type))
  }).catch(reject)
}))
process.exit(0)
