// The page in a real Chromium. Arguments: what to try, and the server's address.
import assert from "node:assert/strict";
import { createRequire } from "node:module";
import { mkdtempSync, readFileSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { chromium } from "playwright-core";

const [what, url] = process.argv.slice(2);
const AXE = readFileSync(createRequire(import.meta.url).resolve("axe-core/axe.min.js"), "utf8");
const ARGUMENTS = [
  "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run", "--disable-background-networking",
  "--disable-component-update", "--disable-sync",
];

const api = async (method, path, body) => {
  const answer = await fetch(`${url}/api${path}`, {
    method, headers: { "content-type": "application/json" }, body: body && JSON.stringify(body),
  });
  const text = await answer.text();
  assert.ok(answer.ok, `${method} ${path}: ${text}`);
  try { return JSON.parse(text); } catch { return text; }
};
const task = (name, more) => ({ name, taskReferenceName: name, type: "SIMPLE", ...more });
const register = (name, tasks) => api("PUT", "/metadata/workflow", [{ name, version: 1, tasks }]);
const start = (name, more) => api("POST", "/workflow", { name, input: {}, ...more });
const run = (id) => api("GET", `/workflow/${id}`);
// Behind a JOIN a task is there a moment after the last branch has ended.
const opened = async (id, reference) => {
  for (let n = 0; n < 200; n++) {
    const found = (await run(id)).tasks.findLast((one) => one.referenceTaskName === reference);
    if (found) return found;
    await new Promise((done) => setTimeout(done, 50));
  }
  assert.fail(`${reference} is not there`);
};
const update = async (id, reference, status, more) => {
  const { taskId } = await opened(id, reference);
  await api("POST", "/tasks", { taskId, workflowInstanceId: id, status, workerId: "worker-1", ...more });
};

// A run with so many branches of a dynamic fork.
const registerSpread = () => register("spread", [
  { name: "fork", taskReferenceName: "fork", type: "FORK_JOIN_DYNAMIC", dynamicForkTasksParam: "tasks",
    dynamicForkTasksInputParamName: "inputs", inputParameters: { tasks: "${workflow.input.tasks}", inputs: {} } },
  { name: "joined", taskReferenceName: "joined", type: "JOIN", joinOn: [] }, task("publish")]);
const spread = (branches) => start("spread", { input: {
  tasks: Array.from({ length: branches }, (_, n) => task("resize", { taskReferenceName: `image_${n}` })) } });

// As test_page.py writes it.
const ORDER = "order <b>1</b>";

const trouble = [];

// A browser of its own with a fresh folder; what it complains of or asks elsewhere is trouble.
const open = async (work, options = {}) => {
  const folder = mkdtempSync(join(tmpdir(), "oms-page-"));
  const context = await chromium.launchPersistentContext(folder, {
    executablePath: "/usr/bin/chromium", headless: true, args: ARGUMENTS,
    viewport: { width: 1280, height: 900 }, ...options,
  });
  try {
    const page = context.pages()[0] ?? await context.newPage();
    page.setDefaultTimeout(15_000);
    page.on("console", (said) => ["error", "warning"].includes(said.type()) && trouble.push(`console: ${said.text()}`));
    page.on("pageerror", (error) => trouble.push(`error: ${error.message}`));
    page.on("dialog", (dialog) => { trouble.push(`dialog: ${dialog.message()}`); dialog.dismiss(); });
    page.on("request", (request) => request.url().startsWith(`${url}/`) || trouble.push(`outside: ${request.url()}`));
    await page.addInitScript(() => addEventListener("securitypolicyviolation",
      (event) => console.error(`policy: ${event.violatedDirective} ${event.blockedURI}`)));
    await work(page);
  } finally {
    await context.close();
    rmSync(folder, { recursive: true, force: true });
  }
};

// Until a place says so.
const says = (page, place, text) => page.locator(place).filter({ hasText: text }).first().waitFor();

// What a change makes a place say is painted within 2 s. The change gives when it was committed; when it is
// seen is noted in the page itself, so that neither the request's answer nor this program's own way counts.
const live = async (page, place, text, change) => {
  const seen = page.evaluate(([place, text]) => new Promise((done) => {
    const look = () => {
      const found = [...document.querySelectorAll(place)].some((one) => one.textContent.includes(text));
      if (found) requestAnimationFrame(() => done(Date.now()));
      return found;
    };
    if (look()) return;
    new MutationObserver((_, self) => look() && self.disconnect())
      .observe(document.body, { childList: true, subtree: true, characterData: true });
  }), [place, text]);
  const committed = await change();
  const took = await seen - committed;
  assert.ok(took < 2_000, `${place} said ${text} after ${took} ms`);
};
const ended = async (id, reference) => {
  const { tasks } = await run(id);
  return tasks.findLast((one) => one.referenceTaskName === reference).endTime;
};
const stays = (page) => page.evaluate(() => { window.was = true; });
const stayed = async (page) => assert.equal(await page.evaluate(() => window.was), true, "it was loaded again");

const TRIES = {
  async retry() {
    await register("line", [task("first"), task("second")]);
    const id = await start("line", { correlationId: "order-1" });
    await update(id, "first", "FAILED_WITH_TERMINAL_ERROR", { reasonForIncompletion: "no gateway" });
    await open(async (page) => {
      await page.goto(`${url}/`);
      await page.getByRole("link", { name: "failed 1" }).click();
      await page.locator("#list a", { hasText: "line" }).click();
      assert.equal(page.url(), `${url}/runs/${id}`);
      await says(page, "#head h1", "failed");
      await says(page, "#task", "no gateway");
      await page.getByText("Retry …").click();
      await page.locator("#act-retry").getByLabel("Reason").fill("the gateway is back");
      await page.locator("#act-retry").getByLabel("Your name").fill("Ann");
      await page.getByRole("button", { name: "Retry", exact: true }).click();
      await says(page, "#head h1", "running");
      await says(page, "#operations", "Ann (without a key): the gateway is back");
      await stays(page);
      await live(page, "#graph a[href*='task=second#']", "queued", async () => {
        await update(id, "first", "COMPLETED");
        return ended(id, "first");
      });
      await page.locator("#graph a[href*='task=second#']").click();
      await says(page, "#task h2", "second");
      assert.ok(page.url().includes("task=second"), page.url());
      await live(page, "#head h1", "completed", async () => {
        await update(id, "second", "COMPLETED");
        return ended(id, "second");
      });
      await says(page, "#task", "completed");
      await stayed(page);
      await page.goBack();
      await says(page, "#task h2", "Task");
      await stayed(page);
    });
  },

  async live() {
    await register("line", [task("first")]);
    await start("line");
    await open(async (page) => {
      await page.goto(`${url}/`);
      await says(page, "#list", "1 run");
      await stays(page);
      await page.getByLabel("Words").fill("half a word");
      let id;
      await live(page, "#list", "2 runs", async () => {
        id = await start("line");
        return (await run(id)).createTime;
      });
      await says(page, "#list", id);
      await live(page, "#list tr", "paused", async () => {
        await api("PUT", `/workflow/${id}/pause`);
        return Date.now();
      });
      await stayed(page);
      assert.equal(await page.getByLabel("Words").inputValue(), "half a word");
    });
  },

  async hostile() {
    const bad = "</pre></title><script>document.title='owned'</script>\"><img src=/x onerror=alert(1)>{{7*7}}";
    await register(bad, [task(bad, { description: bad, taskReferenceName: bad, inputParameters: { all: "${workflow.input}" } }),
      { name: "s", taskReferenceName: "s", type: "SWITCH", evaluatorType: "value-param", expression: "c",
        inputParameters: { c: bad }, decisionCases: { [bad]: [task("x")] } }]);
    const id = await start(bad, { correlationId: bad, input: { [bad]: bad, large: bad.repeat(3_000) } });
    const { tasks } = await run(id);
    await api("POST", `/tasks/${tasks[0].taskId}/log`, bad);
    await update(id, bad, "FAILED_WITH_TERMINAL_ERROR", { reasonForIncompletion: bad, outputData: { bad }, workerId: bad });
    await open(async (page) => {
      for (const path of ["/", `/?words=${encodeURIComponent(bad)}`, `/?name=${encodeURIComponent(bad)}`, `/runs/${id}`,
        `/runs/${id}?task=${encodeURIComponent(bad)}`, "/orders",
        `/orders/${encodeURIComponent(ORDER)}`, `/orders?order=${encodeURIComponent(bad)}`, `/start?name=${encodeURIComponent(bad)}`, `/definitions`]) {
        await page.goto(url + path);
        assert.ok(!(await page.title()).startsWith("owned"), path);
        assert.equal(await page.locator("img").count(), 0, path);
        assert.equal(await page.locator("script:not([src])").count(), 0, path);
      }
      await page.goto(`${url}/runs/${id}`);
      await says(page, "#task", "owned");
      // What is put in its place by the script is as harmless.
      await page.locator("#graph a").last().click();
      await says(page, "#task h2", "x");
    });
  },

  // Of two hundred branches some are drawn, with their states, and the others are counted.
  async forks() {
    await registerSpread();
    const id = await spread(200);
    await update(id, "image_2", "COMPLETED");
    await open(async (page) => {
      await page.goto(`${url}/runs/${id}`);
      await says(page, "#graph .node.ok", "image_2");
      await says(page, "#graph .node.wait", "and 190 more");
      await live(page, "#graph .node.ok", "image_3", async () => {
        await update(id, "image_3", "COMPLETED");
        return ended(id, "image_3");
      });
      await page.locator("#graph a[href*='task=image_3#']").click();
      await says(page, "#task h2", "image_3");
      await page.locator("#graph a[href='#tasks']").click();
      await page.waitForFunction(() => document.getElementById("tasks").getBoundingClientRect().top < innerHeight);
      await live(page, "#head h1", "failed", async () => {
        await update(id, "image_170", "FAILED_WITH_TERMINAL_ERROR", { reasonForIncompletion: "no pixels" });
        return (await run(id)).endTime;
      });
      await page.goto(`${url}/runs/${id}`);
      await says(page, "#graph .node.bad.chosen", "image_170");
      await says(page, "#graph .node.off", "more");
      await says(page, "#task", "no pixels");
    });
  },

  // From the list to the end of a run, by keys alone.
  async keyboard() {
    await register("line", [task("first")]);
    const id = await start("line");
    await open(async (page) => {
      await page.goto(`${url}/`);
      const focused = () => page.evaluate(() => {
        const one = document.activeElement;
        return `${one.tagName} ${one.getAttribute("href") ?? one.getAttribute("name") ?? one.textContent.trim()}`;
      });
      const until = async (sought) => {
        for (let n = 0; n < 60; n++) {
          await page.keyboard.press("Tab");
          const outline = await page.evaluate(() => {
            const one = document.activeElement;
            const rect = one.querySelector?.("rect");
            return getComputedStyle(one).outlineStyle !== "none" || (rect && getComputedStyle(rect).strokeWidth !== "1.3px");
          });
          const at = await focused();
          assert.ok(outline, `${at} does not show that it has the focus`);
          if (at.includes(sought)) return;
        }
        assert.fail(`${sought} is not reached, but ${await focused()}`);
      };
      await page.keyboard.press("Tab");
      assert.equal(await focused(), "A #main");
      await page.keyboard.press("Enter");
      await until(`/runs/${id}`);
      await page.keyboard.press("Enter");
      await says(page, "#head h1", "running");
      await until("task=first");
      await page.keyboard.press("Enter");
      await says(page, "#task h2", "first");
      // The focus is where it was, though the graph was put in its place anew.
      assert.ok((await focused()).includes("task=first"), await focused());
      await page.goto(`${url}/runs/${id}`);
      await until("SUMMARY Terminate");
      await page.keyboard.press("Enter");
      await until("INPUT compensate");
      await until("INPUT reason");
      await page.keyboard.type("by keys alone");
      await page.keyboard.press("Enter");
      await says(page, "#head h1", "terminated");
      assert.equal((await run(id)).reasonForIncompletion, "by keys alone");
      await until("/orders");
      await page.keyboard.press("Enter");
      await says(page, "h1", "Orders");
      await until(encodeURIComponent("order "));
      await page.keyboard.press("Enter");
      await says(page, "#head h1", ORDER);
    });
  },

  async axe() {
    const steps = [task("first", { compensation: task("undo_first") }),
      { name: "both", taskReferenceName: "both", type: "FORK_JOIN", forkTasks: [[task("left")], [task("right")]] },
      { name: "joined", taskReferenceName: "joined", type: "JOIN", joinOn: ["left", "right"] }, task("last")];
    await register("line", steps);
    const [going, bad, halted, good] = await Promise.all([1, 2, 3, 4].map(() => start("line")));
    await update(going, "first", "COMPLETED", { outputData: { large: "x".repeat(20_000) } });
    await update(going, "left", "COMPLETED");
    await update(bad, "first", "FAILED_WITH_TERMINAL_ERROR", { reasonForIncompletion: "no gateway" });
    await api("PUT", `/workflow/${halted}/pause`);
    await api("DELETE", `/workflow/${good}?reason=enough`);
    await registerSpread();
    const many = await spread(30);
    for (const colorScheme of ["light", "dark"]) {
      await open(async (page) => {
        for (const path of ["/", "/?status=FAILED", `/runs/${going}?task=left`, `/runs/${bad}`, `/runs/${halted}`,
          `/runs/${good}`, `/runs/${many}?task=image_2`, "/start", "/sign-in", "/definitions", "/definitions/line/1", "/queues",
          "/orders", "/orders?order=none", `/orders/${encodeURIComponent(ORDER)}`, "/engines", "/schedules"]) {
          // Colours do not hang on the width.
          for (const width of colorScheme === "light" ? [1280, 360] : [1280]) {
            await page.setViewportSize({ width, height: 900 });
            await page.goto(url + path);
            await page.evaluate(() => document.querySelectorAll("details").forEach((one) => { one.open = true; }));
            const wide = await page.evaluate(() => document.documentElement.scrollWidth);
            assert.ok(wide <= width, `${path} is ${wide} wide at ${width}`);
            // By the debugger, which the policy does not bind.
            await page.evaluate(AXE);
            const { violations } = await page.evaluate(() => axe.run(document, { resultTypes: ["violations"] }));
            const grave = violations.filter((one) => ["serious", "critical"].includes(one.impact));
            const told = grave.map((one) => `${one.id}: ${one.nodes.map((node) => `${node.html} ${node.failureSummary}`).slice(0, 3).join("\n")}`);
            assert.deepEqual(told, [], `${path} ${colorScheme} ${width}`);
          }
        }
      }, { colorScheme });
    }
  },

  // Against a database with 100,000 runs, one of which has 500 tasks.
  async fast() {
    const branch = (n) => Array.from({ length: 25 }, (_, m) => task(`t_${n}_${m}`));
    await register("wide", [
      { name: "fork", taskReferenceName: "fork", type: "FORK_JOIN", forkTasks: Array.from({ length: 20 }, (_, n) => branch(n)) },
      { name: "joined", taskReferenceName: "joined", type: "JOIN", joinOn: Array.from({ length: 20 }, (_, n) => `t_${n}_24`) },
    ]);
    const id = await start("wide");
    await open(async (page) => {
      const painted = async (path) => {
        const times = [];
        for (let n = 0; n < 3; n++) {
          await page.goto(url + path);
          times.push(await page.evaluate(() => new Promise((done) => {
            const first = () => performance.getEntriesByName("first-contentful-paint")[0]?.startTime;
            const ready = () => Math.max(first(), performance.timing.domContentLoadedEventEnd - performance.timing.navigationStart);
            if (first()) return done(ready());
            new PerformanceObserver(() => first() && done(ready())).observe({ type: "paint", buffered: true });
          })));
        }
        return Math.round(Math.min(...times));
      };
      for (const path of ["/", "/?status=COMPLETED", "/?name=past&start=5000", `/runs/${id}`, `/runs/${id}?task=t_19_24`]) {
        const ms = await painted(path);
        console.log(`${path}\t${ms} ms`);
        assert.ok(ms < 1_000, `${path}: ${ms} ms`);
      }
      assert.equal(await page.locator("#graph .node").count(), 502);
    });
  },
};

// What people look at, as pictures in a folder.
TRIES.pictures = async () => {
  const undone = (name) => ({ compensation: task(`undo_${name}`) });
  await register("order_line", [
    task("acknowledge_order"),
    { name: "prepare", taskReferenceName: "prepare", type: "FORK_JOIN", forkTasks: [
      [task("authorise_payment", undone("payment")), task("capture_payment")],
      [task("reserve_stock", undone("stock"))]] },
    { name: "prepared", taskReferenceName: "prepared", type: "JOIN", joinOn: ["capture_payment", "reserve_stock"] },
    { name: "how", taskReferenceName: "how", type: "SWITCH", evaluatorType: "value-param", expression: "to",
      inputParameters: { to: "${workflow.input.to}" },
      decisionCases: { pickup: [task("notify_shop"), task("wait_for_customer", { type: "HUMAN" })] },
      defaultCase: [task("schedule_delivery")] },
    task("notify_customer")]);
  await registerSpread();
  const input = { to: "home", lines: [{ sku: "lamp", quantity: 2 }] };
  const [good, bad, going] = await Promise.all(["order-1015", "order-1016", ORDER]
    .map((correlationId) => start("order_line", { correlationId, input })));
  for (const one of ["acknowledge_order", "authorise_payment", "reserve_stock", "capture_payment", "schedule_delivery", "notify_customer"]) {
    await update(good, one, "COMPLETED", { outputData: { ok: true } });
  }
  for (const id of [bad, going]) await update(id, "acknowledge_order", "COMPLETED", { outputData: { ok: true } });
  await update(bad, "reserve_stock", "COMPLETED", { outputData: { reserved: 2 } });
  await update(bad, "authorise_payment", "COMPLETED", { outputData: { paymentId: "pi_3PqR" } });
  const { taskId } = await opened(bad, "capture_payment");
  await api("POST", `/tasks/${taskId}/log`, "asked the gateway to capture 74.97 EUR");
  await update(bad, "capture_payment", "FAILED_WITH_TERMINAL_ERROR",
    { reasonForIncompletion: "card declined: insufficient funds", outputData: { code: "insufficient_funds" } });
  for (const one of ["undo_payment", "undo_stock"]) await update(bad, one, "COMPLETED");
  await update(going, "reserve_stock", "COMPLETED");
  const many = await spread(200);
  for (const n of [0, 1, 3, 12, 13, 14, 15]) await update(many, `image_${n}`, "COMPLETED");
  await api("POST", "/scheduler/schedules", { name: "nightly_restock", cronExpression: "0 0 3 * * *",
    zoneId: "Europe/Berlin", startWorkflowRequest: { name: "order_line" } });
  await api("POST", "/scheduler/schedules", { name: "audit", cronExpression: "0 */5 * * * *", paused: true,
    pausedReason: "until the books are closed", startWorkflowRequest: { name: "order_line" } });
  const paths = { runs: "/", "runs-failed": "/?status=FAILED", run: `/runs/${going}`, "run-failed": `/runs/${bad}`,
    "run-spread": `/runs/${many}?task=image_14`, definitions: "/definitions", definition: "/definitions/order_line/1",
    queues: "/queues", engines: "/engines", schedules: "/schedules", orders: "/orders",
    order: `/orders/${encodeURIComponent(ORDER)}`, start: "/start?name=order_line", "sign-in": "/sign-in", none: "/runs/none" };
  for (const colorScheme of ["light", "dark"]) {
    await open(async (page) => {
      page.setDefaultTimeout(60_000);
      for (const [name, path] of Object.entries(paths)) {
        for (const width of [1280, 360]) {
          await page.setViewportSize({ width, height: 960 });
          await page.goto(url + path);
          if (width === 1280) await page.screenshot({ path: join(process.argv[4] ?? ".", `first-${name}-${colorScheme}.png`) });
          await page.screenshot({ path: join(process.argv[4] ?? ".", `${name}-${width}-${colorScheme}.png`), fullPage: true });
        }
      }
    }, { colorScheme });
  }
  // What is not there is told of in the console too.
  trouble.splice(0, trouble.length, ...trouble.filter((one) => !one.includes("status of 404")));
};

await TRIES[what]();
assert.deepEqual(trouble, []);
console.log("ok");
