// An OpenID provider for tests: two clients, any password, log-outs told through the back channel.
//
//     node provider.mjs PORT APP
//
// APP is where the app is; its providers are called "session" and "person".
import Provider from 'oidc-provider';

const [port, app] = process.argv.slice(2);

const client = (name, sessionRequired) => ({
  client_id: name,
  client_secret: 'secret',
  redirect_uris: [`${app}/callback/${name}`],
  backchannel_logout_uri: `${app}/${name}/backchannel-logout`,
  backchannel_logout_session_required: sessionRequired,
});

const provider = new Provider(`http://127.0.0.1:${port}`, {
  clients: [client('session', true), client('person', false)],
  features: { backchannelLogout: { enabled: true }, devInteractions: { enabled: true } },
  cookies: { keys: ['of the tests'] },
  pkce: { required: () => false },
});

provider.on('backchannel.error', (_, error) => console.log('back channel:', error.message));
provider.on('backchannel.success', (_, one) => console.log('told', one.clientId));
provider.on('server_error', (_, error) => console.log(error));
provider.listen(Number(port), '127.0.0.1', () => console.log('ready'));
