// Signs in by every method with the unmodified Node SDK; prints what it saw as one line of JSON.
// Arguments: base URL, project id. The management key and a TOTP key come by environment: MANAGEMENT_KEY, TOTP_KEY.
import { createHmac } from "node:crypto";
import DescopeClient from "@descope/node-sdk";

const [baseUrl, projectId] = process.argv.slice(2);
const sdk = DescopeClient({ projectId, baseUrl, managementKey: process.env.MANAGEMENT_KEY });
const [ada, bob, eve] = ["ada@example.com", "bob@example.com", "eve@example.com"];
const phone = "+12025550101";
const url = "https://app.example.com/verify?rd=%2Fdeep";

function good(answer) {
  if (!answer.ok) throw new Error(JSON.stringify(answer.error));
  return answer.data;
}

const codeOf = (answer) => (answer.ok ? "ok" : answer.error.errorCode);
const parameter = (link, name) => new URL(link).searchParams.get(name);

async function lastTo(address) {
  const { messages } = await (await fetch(`${baseUrl}/_emulator/messages`)).json();
  return messages.find((message) => message.to === address);
}

async function signedIn(answer) {
  const { sessionJwt, user, firstSeen } = good(answer);
  const { token } = await sdk.validateSession(sessionJwt);
  return [user.name || user.email, firstSeen, ...token.amr];
}

// RFC 6238 over RFC 4226: SHA-1, six digits, thirty seconds.
function appCode(key, atSeconds) {
  const bits = [...key].map((letter) => "ABCDEFGHIJKLMNOPQRSTUVWXYZ234567".indexOf(letter).toString(2).padStart(5, "0"));
  const secret = Buffer.from(bits.join("").match(/.{8}/g).map((byte) => parseInt(byte, 2)));
  const step = Buffer.alloc(8);
  step.writeBigUInt64BE(BigInt(Math.floor(atSeconds / 30)));
  const mac = createHmac("sha1", secret).update(step).digest();
  const at = mac[19] & 15;
  return String((mac.readUInt32BE(at) & 0x7fffffff) % 1_000_000).padStart(6, "0");
}

async function atProvider(page, choice) {
  const answer = await fetch(page.split("?")[0], {
    method: "POST",
    redirect: "manual",
    body: new URLSearchParams({ state: parameter(page, "state"), decision: "allow", ...choice }),
  });
  return answer.headers.get("location");
}

const seen = { otp: {}, magicLink: {} };

for (const [channel, loginId] of [["email", ada], ["sms", phone], ["voice", phone], ["whatsapp", phone]]) {
  const { maskedEmail, maskedPhone } = good(await sdk.otp.signIn[channel](loginId));
  const { code } = await lastTo(loginId);
  seen.otp[channel] = [maskedEmail ?? maskedPhone, ...(await signedIn(await sdk.otp.verify[channel](loginId, code)))];
  seen.usedCode = codeOf(await sdk.otp.verify[channel](loginId, code));
}
good(await sdk.otp.signUp.email(eve, { name: "Eve" }));
seen.otp.signUp = await signedIn(await sdk.otp.verify.email(eve, (await lastTo(eve)).code));

for (const [channel, loginId] of [["email", ada], ["sms", phone], ["whatsapp", phone]]) {
  good(await sdk.magicLink.signIn[channel](loginId, url));
  const token = parameter((await lastTo(loginId)).link, "t");
  seen.magicLink[channel] = await signedIn(await sdk.magicLink.verify(token));
  seen.usedLink = codeOf(await sdk.magicLink.verify(token));
}

const { pendingRef, linkId } = good(await sdk.enchantedLink.signIn(ada, url));
const message = await lastTo(ada);
seen.sameNumber = linkId === message.linkId;
good(await sdk.enchantedLink.verify(parameter(message.link, "t")));
seen.enchantedLink = await signedIn(await sdk.enchantedLink.waitForSession(pendingRef));

good(await sdk.password.sendReset(bob, url));
const reset = good(await sdk.magicLink.verify(parameter((await lastTo(bob)).link, "t")));
good(await sdk.password.update(bob, "second password", reset.refreshJwt));
const bobs = good(await sdk.password.signIn(bob, "second password"));

const { now_s: now } = await (await fetch(`${baseUrl}/_emulator/clock`)).json();
const app = [appCode(process.env.TOTP_KEY, now), { mfa: true }, bobs.refreshJwt];
seen.totp = await signedIn(await sdk.totp.verify(bob, ...app));
seen.usedAppCode = codeOf(await sdk.totp.verify(bob, ...app));
const enrolled = good(await sdk.totp.update(bob, bobs.refreshJwt));
seen.enrolled = [enrolled.key.length > 15, enrolled.provisioningURL.startsWith("otpauth://totp/"), enrolled.image !== ""];

const google = good(await sdk.oauth.start.google(url));
const code = parameter(await atProvider(google.url, { email: ada }), "code");
seen.oauth = await signedIn(await sdk.oauth.exchange(code));
seen.usedProviderCode = codeOf(await sdk.oauth.exchange(code));

for (const sso of ["sso", "saml"]) {
  const page = good(await sdk[sso].start("acme", url)).url;
  const back = await atProvider(page, { email: "zoe@acme.example.com" });
  seen[sso] = await signedIn(await sdk[sso].exchange(parameter(back, "code")));
}

good(await sdk.management.user.createTestUser("tim@example.com", { email: "tim@example.com" }));
const { code: testCode } = good(await sdk.management.user.generateOTPForTestUser("email", "tim@example.com"));
seen.testUser = await signedIn(await sdk.otp.verify.email("tim@example.com", testCode));
seen.noTestUser = codeOf(await sdk.management.user.generateOTPForTestUser("email", ada));
const embedded = good(await sdk.management.user.generateEmbeddedLink(ada, { plan: "gold" }));
const session = await sdk.validateSession(good(await sdk.magicLink.verify(embedded.token)).sessionJwt);
seen.embedded = session.token.plan;

console.log(JSON.stringify(seen));
