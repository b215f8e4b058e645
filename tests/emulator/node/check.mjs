// Signs in, renews, validates and exchanges a key with the unmodified Node SDK; prints what it saw as one line of JSON.
// Arguments: base URL, project id, login id, password. The access key comes by environment: ACCESS_KEY.
import DescopeClient from "@descope/node-sdk";

const [baseUrl, projectId, loginId, password] = process.argv.slice(2);
const sdk = DescopeClient({ projectId, baseUrl });

const signedIn = await sdk.password.signIn(loginId, password);
if (!signedIn.ok) throw new Error(`sign-in: ${JSON.stringify(signedIn.error)}`);
const { sessionJwt, refreshJwt } = signedIn.data;
const session = await sdk.validateSession(sessionJwt);
const renewed = await sdk.refreshSession(refreshJwt);
const exchanged = await sdk.exchangeAccessKey(process.env.ACCESS_KEY);
const me = await sdk.me(refreshJwt);
const selected = await sdk.selectTenant("acme", refreshJwt);
const wrong = await sdk.password.signIn(loginId, "not-the-password");
const forged = await sdk.validateSession(`${sessionJwt.slice(0, -8)}AAAAAAAA`).then(
  () => "accepted",
  () => "refused",
);

console.log(
  JSON.stringify({
    issuer: session.token.iss,
    subject: session.token.sub,
    renewed: renewed.token.sub,
    keySubject: exchanged.token.sub,
    keyRoles: exchanged.token.roles,
    me: me.data.loginIds,
    tenant: (await sdk.validateJwt(selected.data.sessionJwt)).token.dct,
    mayReadInAcme: sdk.validateTenantPermissions(session, "acme", ["docs.read"]),
    wrong: { ok: wrong.ok, code: wrong.code, errorCode: wrong.error.errorCode },
    forged,
  }),
);
