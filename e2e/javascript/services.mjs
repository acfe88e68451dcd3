// What the five tasks do: the statements of oms-tasks, each a transaction, and the sandbox.

import { readFileSync } from "node:fs";
import { connect } from "node:net";
import { NonRetryableException } from "@io-orkes/conductor-javascript";
import pg from "pg";

// Amounts fit, and dates are kept as they are written.
pg.types.setTypeParser(20, Number);
pg.types.setTypeParser(1082, String);
const pool = new pg.Pool({ connectionString: process.env.DATABASE_URL, max: 8 });
pool.on("error", () => {});

const sql = (name) => readFileSync(`${process.env.TOP}/oms-tasks/src/sql/${name}.sql`, "utf8");

async function one(name, ...params) {
  const { rows } = await pool.query({ name, text: sql(name), values: params });
  if (rows.length === 0) throw new NonRetryableException("the order does not exist");
  return rows[0];
}

function ask(request) {
  const [host, port] = process.env.SANDBOX.split(":");
  return new Promise((resolve, reject) => {
    let answer = "";
    const socket = connect(Number(port), host, () => socket.write(`${JSON.stringify(request)}\n`));
    socket.setTimeout(2000, () => socket.destroy(new Error("no answer within 2 s")));
    socket.on("error", reject);
    socket.on("data", (data) => {
      answer += data;
      if (!answer.endsWith("\n")) return;
      socket.destroy();
      const { Ok, Err } = JSON.parse(answer);
      if (Ok) resolve(Ok);
      else reject(new Error(JSON.stringify(Err)));
    });
  });
}

/** Names the step, not the attempt. */
const key = (task) => `${task.workflowInstanceId}:${task.referenceTaskName}`;

async function acknowledge(task) {
  const { order } = task.inputData;
  const { order_id: id, customer, lines, ship_to: shipTo, currency } = order;
  // The statements are for many orders.
  let row = await one(
    "acknowledge_orders", [id], [task.workflowInstanceId], [customer.name], [customer.email],
    [JSON.stringify(shipTo)], [currency], [`We have received your order ${id}.`],
    lines.map(() => 1), lines.map((_, index) => index + 1),
    lines.map((line) => line.sku), lines.map((line) => line.quantity), [null], [null],
  );
  if (!row.written) row = await one("find_orders", [id]);
  if ((row.workflow_id ?? task.workflowInstanceId) !== task.workflowInstanceId) {
    throw new NonRetryableException(`order ${id} belongs to workflow ${row.workflow_id}`);
  }
  return { order_id: id, total_minor: row.total_minor, currency };
}

async function pay(task) {
  const { order_id: id, payment } = task.inputData;
  const row = await one("intend_payment", id, key(task), payment.method);
  const paid = { amount_minor: row.amount_minor, currency: row.currency };
  if (row.status === "CAPTURED") return { charge_id: row.charge_id, ...paid };
  if (row.status !== "PENDING") throw new NonRetryableException(`the payment is ${row.status}`);
  const answer = await ask({ op: "charge", key: row.idempotency_key, order_id: id, ...paid, ...payment });
  if (answer.answer === "declined") {
    await pool.query(sql("decline_payment"), [id, answer.code]);
    throw new NonRetryableException(`declined: ${answer.code}`);
  }
  await one("capture_payment", id, answer.charge_id, `Your payment for order ${id} has arrived.`);
  return { charge_id: answer.charge_id, ...paid };
}

async function book(task) {
  const { order_id: id } = task.inputData;
  const row = await one("book_stock", [id], [`All articles of your order ${id} are set aside.`]);
  if (row.short.length > 0) throw new NonRetryableException(`out of stock: ${row.short}`);
  return { pieces: row.pieces };
}

async function schedule(task) {
  const { order_id: id } = task.inputData;
  // From the main warehouse alone, so there is one.
  const row = await one("intend_deliveries", id, key(task));
  if (row.status === "SCHEDULED") {
    return { tracking_number: row.tracking_number, delivery_date: row.delivery_date };
  }
  const answer = await ask({
    op: "book",
    key: row.idempotency_key,
    order_id: id,
    recipient: row.customer_name,
    ship_to: row.ship_to,
    pieces: row.pieces,
  });
  const booked = { tracking_number: answer.tracking_number, delivery_date: answer.delivery_date };
  const told = `The delivery of your order ${id} is scheduled.`;
  await one("confirm_deliveries", id, [row.warehouse], [booked.tracking_number], [booked.delivery_date], told);
  return booked;
}

async function complete(task) {
  const { order_id: id } = task.inputData;
  await one("complete_orders", [id], [`Your order ${id} is complete and on its way.`], "COMPLETED");
  return { status: "COMPLETED" };
}

const ended = (run) => async (task) => ({ status: "COMPLETED", outputData: await run(task) });

export const tasks = {
  order_acknowledgement: ended(acknowledge),
  payment_processing: ended(pay),
  stock_booking: ended(book),
  delivery_scheduling: ended(schedule),
  notification: ended(complete),
};
