// The sidecar before oidc-provider, as any OpenID Connect provider by configuration: it checks every assertion, and takes each once.

import assert from 'node:assert/strict';
import http from 'node:http';
import { spawn } from 'node:child_process';
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { createInterface } from 'node:readline';
import { calculateJwkThumbprint, decodeJwt, exportJWK, generateKeyPair, SignJWT } from 'jose';
import Provider, { errors } from 'oidc-provider';
import { test } from './runner.mjs';

const AUDIENCE = 'urn:orders';
const JWT_BEARER = 'urn:ietf:params:oauth:grant-type:jwt-bearer';

async function key() {
  const { privateKey, publicKey } = await generateKeyPair('RS256', { extractable: true });
  const kid = await calculateJwkThumbprint(await exportJWK(publicKey));
  const named = async (half) => ({ ...(await exportJWK(half)), alg: 'RS256', kid, use: 'sig' });
  return { secret: await named(privateKey), open: await named(publicKey) };
}

/** oidc-provider with one client, which proves itself by assertion; an exchange names the user of the assertion. */
async function provider(issuer, open) {
  const info = (audience) => {
    if (audience !== AUDIENCE) throw new errors.InvalidTarget('another audience');
    return { scope: 'read write', audience, accessTokenFormat: 'jwt', accessTokenTTL: 600, jwt: { sign: { alg: 'RS256' } } };
  };
  const own = await key();
  const made = new Provider(issuer, {
    jwks: { keys: [own.secret] },
    clients: [
      {
        client_id: 'orders',
        jwks: { keys: [open] },
        grant_types: ['client_credentials', JWT_BEARER],
        redirect_uris: [],
        response_types: [],
        token_endpoint_auth_method: 'private_key_jwt',
        scope: 'read write',
      },
    ],
    scopes: ['read', 'write'],
    clientAuthMethods: ['private_key_jwt'],
    findAccount: (_, sub) => ({ accountId: sub, claims: () => ({ sub }) }),
    features: {
      devInteractions: { enabled: false },
      clientCredentials: { enabled: true },
      resourceIndicators: { enabled: true, defaultResource: () => AUDIENCE, getResourceServerInfo: (_, audience) => info(audience), useGrantedResource: () => true },
    },
  });
  made.registerGrantType(
    JWT_BEARER,
    async (ctx) => {
      const { client, params } = ctx.oidc;
      if (params.requested_token_use !== 'on_behalf_of') throw new errors.InvalidRequest('another use of the grant');
      if (!params.assertion) throw new errors.InvalidGrant('no assertion');
      const { sub } = decodeJwt(params.assertion);
      const token = new ctx.oidc.provider.AccessToken({ accountId: sub, client, gty: 'obo', grantId: sub, scope: params.scope });
      token.resourceServer = new ctx.oidc.provider.ResourceServer(AUDIENCE, info(AUDIENCE));
      ctx.body = { access_token: await token.save(), token_type: 'Bearer', expires_in: token.expiration, scope: params.scope };
    },
    ['assertion', 'requested_token_use', 'scope'],
  );
  const seen = [];
  made.use(async (ctx, next) => {
    await next();
    if (ctx.oidc?.route === 'token') seen.push(ctx.status);
  });
  const { port } = new URL(issuer);
  const server = http.createServer(made.callback());
  await new Promise((listening) => server.listen(Number(port), '127.0.0.1', listening));
  return { server, seen };
}

async function freePort() {
  const server = http.createServer();
  await new Promise((listening) => server.listen(0, '127.0.0.1', listening));
  const { port } = server.address();
  await new Promise((closed) => server.close(closed));
  return port;
}

/** A sidecar over this issuer, while `work` goes on. */
async function beside(issuer, secret, work) {
  const folder = mkdtempSync(path.join(tmpdir(), 'deputize-e2e-'));
  const file = path.join(folder, 'sidecar.toml');
  writeFileSync(path.join(folder, 'orders.jwk'), JSON.stringify(secret), { mode: 0o600 });
  writeFileSync(
    file,
    `[[provider]]\nname = "any"\ndiscovery = "${issuer}/.well-known/openid-configuration"\nclient_id = "orders"\naudience = "${AUDIENCE}"\n` +
      'key = { file = "orders.jwk" }\ntoken = "client-credentials"\nexchange = "on-behalf-of"\n',
  );
  const env = { BIND_ADDRESS: '127.0.0.1:0', PROBE_BIND_ADDRESS: `127.0.0.1:${await freePort()}` };
  const child = spawn(process.env.DEPUTIZE, ['sidecar', '--config', file], { env, stdio: ['ignore', 'pipe', 'inherit'] });
  const ended = new Promise((end) => child.once('exit', end));
  try {
    const address = await new Promise((found, lost) => {
      ended.then(() => lost(new Error('the sidecar ended before it served')));
      createInterface(child.stdout).on('line', (line) => {
        const said = JSON.parse(line);
        if (said.message === 'the sidecar serves') found(said['listener.address']);
      });
    });
    const post = async (route, fields) => {
      const body = JSON.stringify({ identity_provider: 'any', ...fields });
      const answer = await fetch(`http://${address}/api/v1/${route}`, { method: 'POST', headers: { 'content-type': 'application/json' }, body });
      return { status: answer.status, body: await answer.json() };
    };
    const ready = async () => (await fetch(`http://${env.PROBE_BIND_ADDRESS}/readyz`)).status;
    await work({ post, ready });
  } finally {
    child.kill();
    assert.equal(await ended, 0, 'how the sidecar ended');
    rmSync(folder, { recursive: true });
  }
}

test('a sidecar gets, keeps and judges tokens of oidc-provider, each try with an assertion of its own', async () => {
  const [issuer, { secret, open }] = [`http://127.0.0.1:${await freePort()}`, await key()];
  const { server, seen } = await provider(issuer, open);
  try {
    await beside(issuer, secret, async ({ post }) => {
      const first = await post('token', { target: 'read' });
      assert.equal(first.status, 200, JSON.stringify(first.body));
      assert.equal(decodeJwt(first.body.access_token).client_id, 'orders');
      assert.ok(first.body.expires_in > 590 && first.body.expires_in <= 600, JSON.stringify(first.body));
      assert.equal((await post('token', { target: 'read' })).body.access_token, first.body.access_token);
      // oidc-provider remembers which assertions it has seen.
      const anew = await post('token', { target: 'read', skip_cache: true });
      assert.equal(anew.status, 200, JSON.stringify(anew.body));
      assert.notEqual(anew.body.access_token, first.body.access_token);
      assert.deepEqual(seen, [200, 200]);
      const active = await post('introspect', { token: first.body.access_token });
      assert.deepEqual([active.body.active, active.body.iss], [true, issuer], JSON.stringify(active.body));
      const { privateKey } = await generateKeyPair('RS256');
      const kid = JSON.parse(Buffer.from(first.body.access_token.split('.')[0], 'base64url')).kid;
      const forged = await new SignJWT(decodeJwt(first.body.access_token)).setProtectedHeader({ alg: 'RS256', kid }).sign(privateKey);
      assert.deepEqual((await post('introspect', { token: forged })).body, { active: false, error: 'invalid token: InvalidSignature' });
      const refused = await post('token/exchange', { target: 'read', user_token: '' });
      assert.deepEqual(refused, { status: 400, body: { error: 'invalid_grant', error_description: 'grant request is invalid' } });
    });
  } finally {
    server.close();
  }
});

test('a sidecar exchanges tokens at oidc-provider, one for each user', async () => {
  const [issuer, { secret, open }] = [`http://127.0.0.1:${await freePort()}`, await key()];
  const { server } = await provider(issuer, open);
  const user = (sub) => new SignJWT({ sub }).setProtectedHeader({ alg: 'HS256' }).setExpirationTime('5m').sign(new Uint8Array(32));
  try {
    await beside(issuer, secret, async ({ post }) => {
      for (const sub of ['ada', 'bob']) {
        const answer = await post('token/exchange', { target: 'read', user_token: await user(sub) });
        assert.equal(answer.status, 200, JSON.stringify(answer.body));
        assert.equal(decodeJwt(answer.body.access_token).sub, sub);
        assert.deepEqual(Object.keys(answer.body), ['access_token', 'token_type', 'expires_in']);
      }
    });
  } finally {
    server.close();
  }
});

test('a sidecar starts before its provider does, and serves once that is there', async () => {
  const [issuer, { secret, open }] = [`http://127.0.0.1:${await freePort()}`, await key()];
  await beside(issuer, secret, async ({ post, ready }) => {
    assert.equal(await ready(), 503);
    assert.equal((await post('token', { target: 'read' })).status, 500);
    const { server } = await provider(issuer, open);
    try {
      // Whoever was not there is asked again after a moment.
      const deadline = performance.now() + 30_000;
      let answer;
      do answer = await post('token', { target: 'read' });
      while (answer.status !== 200 && performance.now() < deadline);
      assert.equal(answer.status, 200, JSON.stringify(answer.body));
    } finally {
      server.close();
    }
  });
});
