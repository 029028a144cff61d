// A client in Node.js made from proto/ alone: @grpc/proto-loader reads it, @grpc/grpc-js makes the calls.
//
//     npm install @grpc/grpc-js @grpc/proto-loader
//     node node_client.mjs PROTO_DIRECTORY unix:/path/of/controller.sock
//
// Two hosts on a link that loses 1 % of all frames. One connection carries 10 MB and is closed; a second one is reset
// by somebody on the path. Prints what was seen, as JSON.

import assert from "node:assert";
import { createHash } from "node:crypto";
import { readdirSync } from "node:fs";
import { promisify } from "node:util";
import grpc from "@grpc/grpc-js";
import { loadSync } from "@grpc/proto-loader";

const [protos, address] = process.argv.slice(2);
const TOPOLOGY = `
nodes: {h1: host, h2: host}
links: [{endpoints: h1-h2, delay: 1ms, loss: 1%}]
`;
const PATTERN = Buffer.from(Array.from({ length: 256 }, (_, byte) => byte));
const LENGTH = 10_000_000;

const files = readdirSync(`${protos}/tcplab/v1`).map((name) => `tcplab/v1/${name}`);
const options = { includeDirs: [protos], keepCase: true, longs: Number, enums: String, defaults: true };
const loaded = loadSync(files, options);
const api = grpc.loadPackageDefinition(loaded).tcplab.v1;

// A service whose unary calls give promises; streaming calls are as grpc-js makes them.
function service(name) {
  const stub = new api[name](address, grpc.credentials.createInsecure());
  const methods = Object.values(api[name].service).filter((method) => !method.responseStream);
  for (const { originalName } of methods) stub[originalName] = promisify(stub[originalName]).bind(stub);
  return stub;
}

const labs = service("LabService");
const tcp = service("TcpService");
const operations = service("OperationService");
const attacks = service("AttackService");
const traces = service("TraceService");

const lab = (await labs.createLab({ topology_yaml: TOPOLOGY, seed: 7 })).name;

// Lets lab time pass until all are done; gives how they ended.
async function wait(...started) {
  const names = started.map(({ name }) => name);
  await labs.advance({ lab, operations: names });
  return Promise.all(names.map((name) => operations.getOperation({ name })));
}

// A connection from h1 to a new listener on h2: the names of its two ends.
async function connect(port) {
  const listener = await tcp.listen({ node: `${lab}/nodes/h2`, local_port: port });
  const opening = await tcp.open({ node: `${lab}/nodes/h1`, remote: "h2", remote_port: port });
  const accepting = await tcp.accept({ listener: listener.name });
  const [opened, accepted] = await wait(opening, accepting);
  return [opened.established.name, accepted.established.name];
}

// Takes down every change of state, until the lab is deleted.
async function follow() {
  const states = {};
  for await (const { events = [] } of traces.followTrace({ lab, filter: { kinds: ["state"] } })) {
    for (const { node, connection, event } of events) {
      (states[`${node}#${connection}`] ??= []).push(event.state.new.replace("TCP_STATE_", ""));
    }
  }
  return states;
}

// 10 MB, made on h1 and digested on h2, then both ends close.
async function transfer() {
  const [client, server] = await connect(80);
  const sending = await tcp.send({ connection: client, pattern: { pattern: PATTERN, length: LENGTH } });
  const receiving = await tcp.receive({
    connection: server, min_length: LENGTH, max_length: LENGTH, digest_only: true,
  });
  const [, { received }] = await wait(sending, receiving);
  await tcp.close({ connection: client });
  const [end] = await wait(await tcp.receive({ connection: server }));
  assert(end.received.eof);
  await tcp.close({ connection: server });
  return received;
}

// Resets a second connection once it has carried 50 kB; gives the attack, and what its sender was told.
async function attack() {
  const [client] = await connect(81);
  const { name } = await attacks.createAttack({
    parent: lab,
    attack: { on_path_rst: { link: `${lab}/links/h1-h2`, port: 81, bytes: 50_000 } },
  });
  const [sent] = await wait(await tcp.send({ connection: client, pattern: { pattern: PATTERN, length: LENGTH } }));
  return { ...(await attacks.getAttack({ name })), errno: sent.error.errno };
}

const following = follow();
const { length, sha256 } = await transfer();
const expected = createHash("sha256").update(Buffer.alloc(LENGTH, PATTERN)).digest("hex");
assert.equal(sha256, expected);
const { packets, errno } = await attack();
await labs.advance({ lab, idle: true }); // TIME-WAIT too: a minute of lab time
await labs.deleteLab({ name: lab });
console.log(JSON.stringify({ length, sha256, rsts: packets, errno, states: await following }));
// Not stub.close(): TcpService has a call of that name.
for (const stub of [labs, tcp, operations, attacks, traces]) stub.getChannel().close();
