// @polkadot/api from npm, unmodified: node polkadot.mjs ENDPOINT. One JSON document a flow.
import { ApiPromise, Keyring, WsProvider } from '@polkadot/api'

const PATIENCE_MS = 60_000
const api = new ApiPromise({ provider: new WsProvider(process.argv[2]), noInitWarn: true })

function check (holds, words) {
  if (!holds) throw new Error(words)
}

async function flow (name, run) {
  let timer
  const late = new Promise((resolve, reject) => {
    timer = setTimeout(() => reject(new Error(`no answer in ${PATIENCE_MS / 1000} s`)), PATIENCE_MS)
  })
  let words = ''
  try {
    await Promise.race([run(), late])
  } catch (error) {
    words = String(error.message || error).split('\n')[0]
  }
  clearTimeout(timer)
  console.log(JSON.stringify({ client: '@polkadot/api', flow: name, works: words === '', words }))
}

await flow('connect', () => api.isReadyOrError)
const alice = new Keyring({ type: 'sr25519' }).addFromUri('//Alice')
const bob = '5FHneW46xGXgs5mUiveU4sbTyGBzmstUspZC92UhjJM694ty'

await flow('rpc_methods', async () => {
  const { methods } = await api.rpc.rpc.methods()
  const names = methods.map(String)
  for (const one of ['author_submitAndWatchExtrinsic', 'chain_subscribeNewHeads',
    'chain_subscribeFinalizedHeads', 'state_subscribeStorage']) {
    check(names.includes(one), `${one} is not listed`)
  }
})
await flow('runtime APIs from metadata V15', async () => {
  check(api.runtimeVersion.apis.length > 0, 'the runtime names no API')
  check(api.runtimeMetadata.version >= 15, `metadata V${api.runtimeMetadata.version}`)
  const found = await api.call.subnetInfoRuntimeApi.getDynamicInfo(1)
  check(found.isSome, 'subnet 1 has no description')
})
await flow('paymentInfo', async () => {
  const quote = await api.tx.balances.transferKeepAlive(bob, 1_000_000).paymentInfo(alice)
  check(quote.partialFee.toBigInt() > 0n, 'the fee is zero')
})
await flow('derive', async () => {
  check((await api.derive.chain.bestNumber()).toNumber() > 0, 'the best block is 0')
  const { freeBalance } = await api.derive.balances.all(alice.address)
  check(freeBalance.toBigInt() > 0n, '//Alice has nothing')
})
await flow('subscribe to new heads', async () => {
  let stop
  await new Promise((resolve) => {
    let seen = 0
    api.rpc.chain.subscribeNewHeads(() => { if (++seen === 2) resolve() }).then((s) => { stop = s })
  })
  stop()
})
await flow('submitAndWatch', () => new Promise((resolve, reject) => {
  api.tx.balances.transferKeepAlive(bob, 1_000_000).signAndSend(alice, ({ status, dispatchError }) => {
    if (dispatchError) reject(new Error(dispatchError.toString()))
    else if (status.isFinalized) resolve()
    else if (status.isInvalid || status.isDropped) reject(new Error(status.type))
  }).catch(reject)
}))
await api.disconnect()
process.exit(0)
