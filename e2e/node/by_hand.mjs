// The code flow by hand: every command of docs/guides/by-hand.md, in one shell, with a real browser for the person, and then
// those of work-orders.md, which goes on there. newman runs the Postman collection. The shell trusts what the page tells it to
// trust, and nothing else.

import assert from 'node:assert/strict';
import { spawn } from 'node:child_process';
import { mkdtempSync, readFileSync, rmSync, symlinkSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { once, test } from './runner.mjs';
import { signIn } from './browser.mjs';
import { ada, billing, orders, web } from './world.mjs';

const root = join(import.meta.dirname, '../..');
const guides = ['by-hand', 'work-orders'].map((name) => readFileSync(join(root, `docs/guides/${name}.md`), 'utf8'));
const blocks = [...guides.join('\n').matchAll(/^```sh\n([^]*?)^```$/gm)].map((match) => match[1]);
const END = 'this block is done';

/** A shell that is typed into, and stops at the first command that fails. */
function shell(folder) {
  const { NODE_EXTRA_CA_CERTS: _, ...env } = process.env;
  const path = `${join(import.meta.dirname, 'node_modules/.bin')}:${env.PATH}`;
  const bash = spawn('bash', [], { cwd: folder, env: { ...env, PATH: path } });
  let [output, errors, waiting] = ['', '', () => {}];
  const heard = (text) => {
    output += text;
    waiting();
  };
  bash.stdout.on('data', heard);
  bash.stderr.on('data', (text) => (errors += text));
  const ended = new Promise((resolve) => bash.once('close', resolve));
  bash.stdin.write('set -e -o pipefail\n');
  return {
    /** Types this and answers with what was printed. */
    type(text) {
      output = '';
      bash.stdin.write(`${text}echo '${END}'\n`);
      const said = new Promise((resolve) => {
        waiting = () => output.endsWith(`${END}\n`) && resolve(output.slice(0, -END.length - 1));
      });
      const failed = ended.then((code) => {
        throw new Error(`ended with ${code} at:\n${text}\n${output}\n${errors}`);
      });
      return Promise.race([said, failed]);
    },
    end: () => {
      bash.stdin.end();
      return ended;
    },
  };
}

/** What each block printed. The person does what the page says where it reads an address. */
const followed = once(async () => {
  const folder = mkdtempSync(join(tmpdir(), 'deputize-by-hand-'));
  symlinkSync(process.env.DEPUTIZE_DEMO_ENV, join(folder, 'demo.json'));
  symlinkSync(join(root, 'examples'), join(folder, 'examples'));
  const typed = shell(folder);
  const printed = [];
  try {
    for (const block of blocks.slice(1)) {
      const address = printed.at(-1)?.trim().split('\n').at(-1);
      const back = block === 'read -r BACK\n' ? `${await signIn(address, ada)}\n` : '';
      printed.push(await typed.type(block + back));
    }
  } finally {
    await typed.end();
    rmSync(folder, { recursive: true, force: true });
  }
  return (words) => printed[blocks.findIndex((block) => block.includes(words)) - 1];
});

test('every command of the page about a code flow by hand does what the page says', async () => {
  assert.equal(blocks[0], 'deputize demo --env demo.json\n', 'the suite runs beside it');
  const printed = await followed();
  const json = (words) => JSON.parse(printed(words));
  const mine = json('claims() {');
  assert.deepEqual([mine.aud, mine.oid, mine.azp], [orders.app_id, ada.oid, web.app_id]);
  assert.equal(json("jq '.orders[0]'").for, ada.oid);
  const forwarded = json('check: .checks[0]');
  assert.deepEqual([forwarded.status, forwarded.check.id], [401, 'token.audience']);
  const hers = json('on_behalf_of() {');
  assert.deepEqual([hers.aud, hers.oid, hers.azp], [billing.app_id, ada.oid, orders.app_id]);
  assert.ok(json("jq '.invoices[0]'").id);
  const refused = json('Invoices.Approve |');
  assert.deepEqual([refused.error, refused.error_codes], ['invalid_grant', [65001]]);
  assert.ok(refused.deputize_hint.adminConsentUrl, 'it says where it can be mended');
  assert.equal(json('grant_type=refresh_token').oid, ada.oid);
});

test('newman runs the Postman collection, the person signing in between', async () => {
  const printed = await followed();
  for (const [words, requests] of [['--folder "Sign in"', 2], ['--folder "With the code"', 7]]) {
    const table = printed(words);
    assert.match(table, new RegExp(`requests\\s*│\\s*${requests}\\s*│\\s*0`), table);
    assert.match(table, /assertions\s*│\s*[1-9]\d*\s*│\s*0/, table);
  }
});

test('every command of the page about work orders does what the page says', async () => {
  const printed = await followed();
  const json = (words) => JSON.parse(printed(words));
  const made = json('exchange() {');
  assert.deepEqual([made.token_type, made.expires_in], ['N_A', 259_200]);
  const hers = json('redeem() {');
  assert.deepEqual([hers.aud, hers.oid, hers.azp, hers.scp], [billing.app_id, ada.oid, orders.app_id, 'Invoices.Read']);
  const wider = json('redeem -d scope');
  assert.deepEqual([wider.error, wider.check], ['invalid_scope', 'scope.within_grant']);
  const revoked = json('oauth2/v2.0/revoke');
  assert.deepEqual([revoked.error, revoked.check], ['invalid_grant', 'work_order.not_revoked']);
});
