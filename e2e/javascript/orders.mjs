// The order services on Conductor's official SDK for JavaScript, unmodified, with the statements of oms-tasks.
//
// Usage: orders.mjs register | place CARD... | show ID... | work
// with CONDUCTOR_SERVER_URL, DATABASE_URL, SANDBOX and the top folder as TOP in the environment

import { readFileSync } from "node:fs";
import { OrkesClients, TaskHandler, noopLogger } from "@io-orkes/conductor-javascript";
import { tasks } from "./services.mjs";

const read = (name) =>
  JSON.parse(readFileSync(`${process.env.TOP}/oms-tasks/definitions/${name}.json`, "utf8"));

async function register(clients) {
  const metadata = clients.getMetadataClient();
  await metadata.registerTasks(read("task_definitions"));
  for (const name of ["order_unwinding", "order_fulfilment"]) {
    await metadata.registerWorkflowDef(read(name), true);
    const kept = await metadata.getWorkflowDef(name, 1);
    if (kept.tasks.length !== 5) throw new Error(`${name} has ${kept.tasks.length} tasks`);
  }
}

async function place(clients, cards) {
  const workflows = clients.getWorkflowClient();
  for (const card of cards) {
    const orderId = `order-${crypto.randomUUID()}`;
    const id = await workflows.startWorkflow({
      name: "order_fulfilment",
      version: 1,
      correlationId: orderId,
      input: {
        order_id: orderId,
        customer: { name: "Ada", email: "ada@example.com" },
        lines: [{ sku: "lamp", quantity: 2 }],
        payment: { method: "card", token: `tok_${card}` },
        ship_to: { street: "Main St 1", city: "Bonn", postal_code: "53111", country: "DE" },
        currency: "EUR",
      },
    });
    console.log(id);
  }
}

async function show(clients, ids) {
  const workflows = clients.getWorkflowClient();
  for (const id of ids) {
    const run = await workflows.getWorkflow(id, true);
    const done = run.tasks.filter((task) => task.status === "COMPLETED").length;
    console.log(`${id} ${JSON.stringify(run.status)} ${done}`);
  }
}

async function work(clients) {
  const workers = Object.entries(tasks).map(([taskDefName, execute]) => ({
    taskDefName,
    execute,
    concurrency: 4,
    pollInterval: 50,
  }));
  const handler = new TaskHandler({
    client: clients.getClient(),
    workers,
    scanForDecorated: false,
    logger: noopLogger,
  });
  await handler.startWorkers();
  console.log("five services run");
  process.on("SIGTERM", () => handler.stopWorkers().then(() => process.exit(0)));
}

const [what, ...rest] = process.argv.slice(2);
const clients = await OrkesClients.from(undefined, undefined, noopLogger);
if (what === "register") await register(clients);
else if (what === "place") await place(clients, rest);
else if (what === "show") await show(clients, rest);
else if (what === "work") await work(clients);
else throw new Error("usage: orders.mjs register | place CARD... | show ID... | work");
if (what !== "work") process.exit(0);
