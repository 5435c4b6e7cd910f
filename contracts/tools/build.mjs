// What leaves this folder: for each contract the standard JSON that an explorer verifies its source
// by, and interface and bytecode for the programs that deploy and call it.
//
// node tools/build.mjs           # writes them
// node tools/build.mjs --check   # exit 1 where they differ from the sources, or forge's bytecode does
import { existsSync, mkdirSync, readFileSync, writeFileSync } from "node:fs";
import { createRequire } from "node:module";
import { dirname, join } from "node:path";
import { fileURLToPath } from "node:url";

const CONTRACTS = ["ScoreLedger", "WeightsCheck"];
const HERE = dirname(dirname(fileURLToPath(import.meta.url)));
const VERIFY = join(HERE, "verify");
const PACKAGED = join(HERE, "..", "assay", "network", "evm", "data");
// foundry.toml's, in the compiler's words
const SETTINGS = {
  evmVersion: "cancun",
  optimizer: { enabled: true, runs: 1000 },
  metadata: { bytecodeHash: "none" },
};

const solc = createRequire(import.meta.url)("solc");

function compile(input, onImport) {
  const answer = JSON.parse(solc.compile(JSON.stringify(input), { import: onImport }));
  for (const problem of answer.errors ?? []) throw new Error(problem.formattedMessage);
  return answer;
}

/** The standard JSON of a contract: its source and all that it imports, by name. */
function gather(name) {
  const sources = {};
  const read = (path) => {
    const file = path.startsWith("@") ? join("node_modules", path) : path;
    sources[path] = { content: readFileSync(join(HERE, file), "utf8") };
    return { contents: sources[path].content };
  };
  const entry = `src/${name}.sol`;
  read(entry);
  const first = { language: "Solidity", sources: { ...sources }, settings: select({}) };
  compile(first, read);
  const sorted = Object.fromEntries(Object.entries(sources).sort(([a], [b]) => (a < b ? -1 : 1)));
  const outputs = { [entry]: { [name]: ["abi", "evm.bytecode.object", "evm.deployedBytecode.object"] } };
  return { language: "Solidity", sources: sorted, settings: select(outputs) };
}

function select(outputSelection) {
  return { ...SETTINGS, outputSelection };
}

/** Every file that leaves, path → text. */
function make() {
  const files = {};
  for (const name of CONTRACTS) {
    const text = JSON.stringify(gather(name), null, 1) + "\n";
    // from the text alone, as an explorer does it
    const { abi, evm } = compile(JSON.parse(text)).contracts[`src/${name}.sol`][name];
    const packaged = { contract: name, compiler: solc.version(), abi, bytecode: evm.bytecode.object };
    files[join(VERIFY, `${name}.json`)] = text;
    files[join(PACKAGED, `${name}.json`)] = JSON.stringify(packaged, null, 1) + "\n";
    const forge = JSON.parse(readFileSync(join(HERE, "out", `${name}.sol`, `${name}.json`), "utf8"));
    if (forge.bytecode.object !== `0x${evm.bytecode.object}`) {
      throw new Error(`${name}: what forge has tested is not what the standard JSON compiles to`);
    }
  }
  return files;
}

let stale = 0;
for (const [path, text] of Object.entries(make())) {
  if (process.argv.includes("--check")) {
    if (!existsSync(path) || readFileSync(path, "utf8") !== text) {
      console.error(`${path} is not what the sources compile to: run node tools/build.mjs`);
      stale = 1;
    }
  } else {
    mkdirSync(dirname(path), { recursive: true });
    writeFileSync(path, text);
  }
}
process.exit(stale);
