// What a page does with @azure/msal-browser, and shows what came of it. Configured by /config.json.

const config = await (await fetch('/config.json')).json();
const client = await msal.createStandardPublicClientApplication({
  auth: {
    clientId: config.client_id,
    authority: config.authority,
    knownAuthorities: [new URL(config.authority).host],
    redirectUri: `${location.origin}/`,
    postLogoutRedirectUri: `${location.origin}/`,
  },
});
const scopes = [config.orders_scope];

const show = (answer) => {
  document.querySelector('#answer').textContent = JSON.stringify(answer, null, 2);
};

function claims(token) {
  const text = atob(token.split('.')[1].replaceAll('-', '+').replaceAll('_', '/'));
  return JSON.parse(new TextDecoder().decode(Uint8Array.from(text, (letter) => letter.charCodeAt(0))));
}

const shown = ({ account, accessToken, fromCache, scopes: granted }) => ({
  user: account.username,
  home: account.homeAccountId,
  nonce: Boolean(account.idTokenClaims.nonce),
  claims: claims(accessToken),
  fromCache,
  granted,
});

const token = (more = {}) => client.acquireTokenSilent({ scopes, account: client.getAllAccounts()[0], ...more });

async function call(method, path) {
  const { accessToken } = await token();
  const headers = { authorization: `Bearer ${accessToken}` };
  const answer = await fetch(config.orders_url + path, { method, headers });
  return { status: answer.status, challenge: answer.headers.get('www-authenticate'), body: await answer.json() };
}

/** Asks again with what the API wants of the user, and remembers what for. */
async function pay() {
  const { body } = await call('GET', '/orders');
  const path = `/orders/${body.invoices.invoices[0].id}/pay`;
  const answer = await call('POST', path);
  const wanted = answer.challenge?.match(/error="insufficient_claims", claims="([A-Za-z0-9+/=]+)"/)?.[1];
  if (answer.status !== 401 || !wanted) return answer;
  sessionStorage.setItem('paying', 'yes');
  return client.acquireTokenRedirect({ scopes, account: client.getAllAccounts()[0], claims: atob(wanted) });
}

const consent = { scopes, extraScopesToConsent: [config.billing_scope] };
const buttons = {
  redirect: () => client.loginRedirect(consent),
  popup: async () => shown(await client.loginPopup({ ...consent, redirectUri: `${location.origin}/redirect` })),
  orders: () => call('GET', '/orders'),
  invoices: async () => shown(await token({ scopes: [config.billing_scope] })),
  renew: async () => shown(await token({ forceRefresh: true })),
  pay,
  out: () => {
    const account = client.getAllAccounts()[0];
    return client.logoutRedirect({ account, idTokenHint: account.idToken });
  },
};

const act = async (work) => {
  document.querySelector('#answer').textContent = '';
  try {
    const answer = await work();
    if (answer) show(answer);
  } catch (error) {
    show({ error: error.errorCode ?? error.name, description: error.message });
  }
};

for (const [id, work] of Object.entries(buttons)) document.getElementById(id).onclick = () => act(work);

await act(async () => {
  const arrived = await client.handleRedirectPromise();
  const paying = arrived && sessionStorage.getItem('paying');
  if (paying) sessionStorage.removeItem('paying');
  if (paying) return pay();
  return arrived ? shown(arrived) : { user: client.getAllAccounts()[0]?.username ?? null };
});
document.body.dataset.ready = 'yes';
