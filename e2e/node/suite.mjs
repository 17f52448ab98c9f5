// The end-to-end suite in Node.js: unmodified openid-client, jose and @azure/msal-node, and a real browser, against
// `deputize demo`.
//
//   deputize demo --env FILE &
//   NODE_EXTRA_CA_CERTS=<ca_file of FILE> DEPUTIZE_DEMO_ENV=FILE node e2e/node/suite.mjs [WORD...]
//
// With words, only the tests whose name has one of them are run. `cargo xtask test --only e2e-node` does all of this.

import { run } from './runner.mjs';
import { close } from './browser.mjs';

for (const chapter of ['pages', 'openid', 'verification', 'msal', 'azure', 'workload', 'step_up', 'spa', 'consent', 'by_hand', 'accounts', 'work_orders', 'sidecar', 'every_page', 'sign_in']) await import(`./${chapter}.mjs`);

process.exitCode = await run('e2e-node', process.argv.slice(2));
await close();
