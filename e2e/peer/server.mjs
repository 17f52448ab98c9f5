// The peer of the benchmark: node-oidc-provider on plain HTTP with its memory adapter, able to answer client credentials
// and an On-Behalf-Of exchange (one signature checked, one made). PORT=9301 node server.mjs
//
// A resource is named after the algorithm that signs its tokens: `urn:api:rs256` (the middle tier's audience) and
// `urn:down:es256` (a downstream). The assertion is any access token of this server for an `urn:api:` audience.

import Provider, { errors } from 'oidc-provider';
import { createLocalJWKSet, exportJWK, generateKeyPair, jwtVerify } from 'jose';

const port = Number(process.env.PORT ?? 9301);
const issuer = `http://127.0.0.1:${port}`;
const JWT_BEARER = 'urn:ietf:params:oauth:grant-type:jwt-bearer';
const ALGORITHMS = ['RS256', 'ES256'];

const pairs = await Promise.all(
  ALGORITHMS.map(async (alg) => {
    const pair = await generateKeyPair(alg, { extractable: true, modulusLength: 2048 });
    const named = async (key) => ({ ...(await exportJWK(key)), alg, kid: alg.toLowerCase(), use: 'sig' });
    return { secret: await named(pair.privateKey), open: await named(pair.publicKey) };
  }),
);
const published = createLocalJWKSet({ keys: pairs.map(({ open }) => open) });

function resource(uri) {
  const [, alg] = /^urn:(?:api|down):(rs256|es256)$/.exec(uri) ?? [];
  if (!alg) throw new errors.InvalidTarget(`no resource ${uri}`);
  const sign = { alg: alg.toUpperCase() };
  return { scope: 'read', audience: uri, accessTokenFormat: 'jwt', accessTokenTTL: 3600, jwt: { sign } };
}

const provider = new Provider(issuer, {
  jwks: { keys: pairs.map(({ secret }) => secret) },
  clients: [
    {
      client_id: 'bench',
      client_secret: 'a-secret-of-the-benchmark-a-secret-of-it',
      grant_types: ['client_credentials', JWT_BEARER],
      redirect_uris: [],
      response_types: [],
      token_endpoint_auth_method: 'client_secret_post',
      scope: 'read',
    },
  ],
  scopes: ['read'],
  findAccount: (_, sub) => ({ accountId: sub, claims: () => ({ sub }) }),
  extraTokenClaims: (ctx) => ctx.state.actor && { act: ctx.state.actor },
  features: {
    devInteractions: { enabled: false },
    clientCredentials: { enabled: true },
    resourceIndicators: { enabled: true, getResourceServerInfo: (_, uri) => resource(uri), useGrantedResource: () => true },
  },
});

provider.registerGrantType(
  JWT_BEARER,
  async (ctx) => {
    const { client, params } = ctx.oidc;
    const { payload } = await jwtVerify(params.assertion, published, { issuer, typ: 'at+jwt', algorithms: ALGORITHMS });
    if (!String(payload.aud).startsWith('urn:api:')) throw new errors.InvalidGrant('assertion for another audience');
    const target = params.scope.replace(/\/\.default$/, '');
    const token = new provider.AccessToken({
      client,
      accountId: payload.sub,
      grantId: payload.jti,
      gty: 'on_behalf_of',
      scope: 'read',
      expiresWithSession: false,
    });
    token.resourceServer = new provider.ResourceServer(target, resource(target));
    ctx.state.actor = { sub: client.clientId };
    ctx.oidc.entity('AccessToken', token);
    const access_token = await token.save();
    ctx.body = { access_token, token_type: 'Bearer', expires_in: token.expiration, scope: token.scope };
  },
  ['assertion', 'requested_token_use', 'scope'],
);

provider.on('server_error', (_, error) => console.error(error));
provider.listen(port, '127.0.0.1', () => console.log(`up on ${port}`));
