// Runs the public compliance suite of the Pinning Service API
// (@ipfs-shipyard/pinning-service-compliance) against one service, offline.
//
//   node run.mjs ENDPOINT TOKEN [REPORT_FOLDER]
//
// The suite would download the specification and write its report into its
// own package. Both places, and nothing else of it, are changed while it is
// loaded: it validates answers against this project's OpenAPI document
// (PSA_SPEC names another) and writes to the report folder (default: a
// temporary one). Prints the suite's summary and "9/9". Ends with exit code 0
// when all checks passed, 1 when some did not, 2 when it could not run.
import { mkdirSync, mkdtempSync, readdirSync, readFileSync } from 'node:fs'
import { register } from 'node:module'
import { tmpdir } from 'node:os'
import { join, resolve } from 'node:path'
import { fileURLToPath, pathToFileURL } from 'node:url'

const here = fileURLToPath(new URL('.', import.meta.url))
const suite = join(here, '../js/node_modules/@ipfs-shipyard/pinning-service-compliance')
const checks = 9

const [endpoint, token, reports = mkdtempSync(join(tmpdir(), 'compliance-'))] = process.argv.slice(2)
if (!endpoint || !token) {
  console.error('usage: node run.mjs ENDPOINT TOKEN [REPORT_FOLDER]')
  process.exit(2)
}
const docsDir = resolve(reports)
mkdirSync(docsDir, { recursive: true })
const specLocation = resolve(process.env.PSA_SPEC ?? join(here, '../../pinsvcapi/openapi.yaml'))
readFileSync(specLocation) // The suite would fail all checks without saying why.

const { name, version } = JSON.parse(readFileSync(join(suite, 'package.json'), 'utf8'))
Object.assign(process.env, { npm_package_name: name, npm_package_version: version, NO_COLOR: '1' })
register('./places.mjs', import.meta.url, { data: { specLocation, docsDir } })

process.on('beforeExit', () => { process.exitCode = summary() })
process.argv = [process.argv[0], join(suite, 'dist/src/index.js'), '-s', endpoint.replace(/\/$/, ''), token]
await import(pathToFileURL(process.argv[1]))

/** Prints how many of the checks passed, and returns the exit code. */
function summary () {
  const report = readdirSync(docsDir).find(file => file.endsWith('.md'))
  if (report == null) {
    console.error('the suite wrote no report')
    return 2
  }
  const text = readFileSync(join(docsDir, report), 'utf8')
  const [, passed, total] = /^## Summary \((\d+)\/(\d+) successful\)/m.exec(text) ?? [null, '0', '0']
  console.log(`${passed}/${total} compliance checks (details: ${join(docsDir, report)})`)
  return Number(passed) === checks && Number(total) === checks ? 0 : 1
}
