// Looks at a real farm's pages with a real browser, as their readers do. Started by tests/tests/browser.rs, which lays
// the farm and answers on stdin when something is asked of it on stdout. The first thing that is not so ends it.

import assert from "node:assert/strict";
import { mkdirSync } from "node:fs";
import { createInterface } from "node:readline";
import { chromium } from "playwright-core";

const { FARM_URL: farm, FARM_CHROMIUM: executablePath, FARM_SCREENSHOTS: folder } = process.env;
const answers = createInterface({ input: process.stdin })[Symbol.asyncIterator]();
const ask = async (what) => { console.log(`ask ${what}`); return (await answers.next()).value; };
const say = (what) => console.log(`say ${what}`);

// Slower than anything that happens here on a busy machine.
const PATIENCE = 60_000;
const FLAGS = ["--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run", "--disable-background-networking",
  "--disable-component-update", "--disable-sync"];
const browser = await chromium.launch({ executablePath, args: FLAGS, timeout: PATIENCE });
mkdirSync(folder, { recursive: true });

// Whatever no page may ever do.
const sins = [];
async function reader(options = {}) {
  const context = await browser.newContext({ viewport: { width: 1280, height: 900 }, ...options });
  context.setDefaultTimeout(PATIENCE);
  if (options.javaScriptEnabled !== false) {
    await context.addInitScript(() => addEventListener("securitypolicyviolation",
      (event) => console.error(`content security policy: ${event.violatedDirective} ${event.blockedURI}`)));
  }
  const page = await context.newPage();
  page.on("pageerror", (error) => sins.push(`${page.url()}: ${error}`));
  page.on("console", (said) => ["error", "warning"].includes(said.type()) && sins.push(`${page.url()}: ${said.text()}`));
  page.on("request", (request) => request.url().startsWith(`${farm}/`) || sins.push(`${page.url()} asked ${request.url()}`));
  return page;
}
const text = (page) => page.locator("main").innerText();

/** The page of the walker's build at the newest change, which runs slowly once it was asked for. */
async function aChangeArrives() {
  const page = await reader();
  await page.goto(`${farm}/waterfall`);
  await page.getByText("live", { exact: true }).waitFor();
  await page.evaluate(() => { window.sameDocument = true; });
  await page.keyboard.press("j");
  const held = await page.locator(".here").getAttribute("href");
  const columns = await page.locator(".fall thead tr:first-child th").allInnerTexts();
  const walker = columns.indexOf("walker");
  assert(walker > 0, `no column of walker among ${columns}`);
  await ask("a slow change");
  const cell = page.locator("tr", { hasText: "Walk slowly" }).locator("td").nth(walker - 1);
  const running = cell.locator("a.running");
  await running.waitFor();
  const build = await running.getAttribute("href");
  await theLogGrows(build);
  await cell.locator("a.passed").waitFor();
  assert(await page.evaluate(() => window.sameDocument), "the waterfall was loaded anew");
  assert.equal(await page.locator(".here").getAttribute("href"), held, "the reader's place was lost");
  say("the waterfall shows a change and its builds as they come");
  return build;
}

async function theLogGrows(build) {
  const page = await reader();
  await page.goto(farm + build);
  await page.evaluate(() => { window.sameDocument = true; });
  const lines = page.locator(".log[data-follow] .l");
  const seen = await lines.count();
  await page.waitForFunction((seen) => document.querySelectorAll(".log[data-follow] .l").length > seen + 2, seen);
  const numbers = (await page.locator(".log .l > a").allInnerTexts()).map(Number);
  assert.deepEqual(numbers, numbers.map((_, n) => numbers[0] + n), "lines are missing, doubled or out of order");
  say(`the log grew from ${seen} to ${numbers.length} lines while its step ran`);
  await page.screenshot({ path: `${folder}/live-log.png`, fullPage: true });
  await page.getByText("walker at Walk slowly passed").waitFor();
  assert(await page.evaluate(() => window.sameDocument), "the build's page was loaded anew");
  assert.equal(await page.locator("[data-follow]").count(), 0, "a log is followed whose step has ended");
  say("the build's page says that it ended");
}

/** What a log prints stays text, and each of its lines has an address. */
async function aLogIsInert(build) {
  const page = await reader();
  await page.goto(`${farm}${build}/log/0`);
  const log = page.locator(".log");
  assert((await log.innerText()).includes("<script>document.title = 'owned'</script>"));
  assert.equal(await log.locator("script, b, img").count(), 0);
  assert(!(await page.title()).includes("owned"));
  await page.locator("#L3 > a").click();
  assert(page.url().endsWith("#L3"));
  say("a log is inert");
}

/** The culprit's row has a beam that ends in the column of what it broke, where the rail begins. */
async function theCulpritIsJoined() {
  const page = await reader();
  await page.goto(`${farm}/waterfall`);
  assert.match(await page.locator("h1").innerText(), /1 change of lang master breaks polite today\./);
  const columns = await page.locator(".fall thead tr:first-child th").allInnerTexts();
  const row = page.locator("tr.culprit", { hasText: "Say goodbye" });
  const column = await row.locator("td").nth(columns.indexOf("polite") - 1).boundingBox();
  const knot = await row.locator(".knot").boundingBox();
  const end = await row.locator(".beam.end").boundingBox();
  const start = await row.locator("th .beam").boundingBox();
  const isWithin = (x) => x >= column.x - 8 && x <= column.x + column.width;
  assert(isWithin(knot.x + knot.width / 2), "the knot is not in polite's column");
  assert(isWithin(end.x + end.width), "the beam does not end in polite's column");
  assert(start.x < column.x && Math.abs(start.y - end.y) < 2, "the beam does not come from the change");
  // Every row above it up to the top holds the rail.
  const above = await page.locator(".fall tbody tr").evaluateAll((rows, column) => {
    const culprit = rows.findIndex((row) => row.classList.contains("culprit"));
    return rows.slice(0, culprit).map((row) => row.cells[column].querySelectorAll(".rail").length);
  }, columns.indexOf("polite"));
  assert(above.length > 0 && above.every((rails) => rails === 1), `the rail has gaps: ${above}`);
  say("the culprit is joined to the column that it broke");
}

async function keysWalkTheRed() {
  const page = await reader();
  await page.goto(`${farm}/waterfall`);
  const here = () => page.locator(".here").getAttribute("href");
  await page.keyboard.press("j");
  const first = await here();
  await page.keyboard.press("j");
  const second = await here();
  assert.notEqual(first, second);
  await page.keyboard.press("k");
  assert.equal(await here(), first);
  assert.equal(await page.evaluate(() => document.activeElement.getAttribute("href")), first);
  await page.keyboard.press("?");
  assert(await page.locator("#keys").isVisible());
  await page.keyboard.press("Escape");
  assert(!await page.locator("#keys").isVisible());
  await page.keyboard.press("Enter");
  await page.waitForURL(farm + first);
  await page.keyboard.press("b");
  await page.waitForURL(`${farm}/breakages`);
  await page.keyboard.press("j");
  assert.match(await here(), /^\/breakages\/|^\/changes\//);
  say("keys walk the red");
}

async function factsNeedNoScript(paths) {
  const page = await reader({ javaScriptEnabled: false });
  for (const [path, fact] of paths) {
    await page.goto(farm + path);
    assert((await text(page)).includes(fact), `${path} does not say ${fact} without JavaScript`);
  }
  say("all facts can be read without JavaScript");
}

async function aPhoneShowsAll(paths) {
  const page = await reader({ viewport: { width: 390, height: 844 }, deviceScaleFactor: 2, isMobile: true, hasTouch: true });
  for (const [path] of paths) {
    await page.goto(farm + path);
    const [body, table, window] = await page.evaluate(() => {
      const scroller = document.querySelector(".scroller");
      const body = Math.max(document.documentElement.scrollWidth, document.body.scrollWidth, innerWidth);
      return [body, scroller?.scrollWidth, scroller?.clientWidth];
    });
    assert(body <= 390, `${path} is ${body} px wide on a phone`);
    if (path === "/waterfall") assert(table > window, "the table is not wide enough to tell");
    await shoot(page, "phone", path);
  }
  say("no page is wider than a phone");
}

/** Every mark of a state, as it is drawn: letters against what is behind them. */
const contrasts = () => {
  const rgb = (colour) => colour.match(/[\d.]+/g).map(Number);
  const luminance = (colour) => {
    const [r, g, b] = colour.slice(0, 3).map((c) => c / 255).map((c) => c <= .04045 ? c / 12.92 : ((c + .055) / 1.055) ** 2.4);
    return .2126 * r + .7152 * g + .0722 * b;
  };
  const behind = (element) => {
    for (let at = element; at; at = at.parentElement) {
      const colour = rgb(getComputedStyle(at).backgroundColor);
      if (colour.length === 3 || colour[3] === 1) return colour;
    }
    return [255, 255, 255];
  };
  const marks = document.querySelectorAll(".chip, .fall .b, .extras a, .strip a, .tag, .knot, .soft, main a, .log span");
  return [...marks].map((mark) => {
    const [one, other] = [luminance(rgb(getComputedStyle(mark).color)), luminance(behind(mark))];
    return [(Math.max(one, other) + .05) / (Math.min(one, other) + .05), `${mark.className} ${mark.textContent.slice(0, 20)}`];
  });
};
async function statesCanBeRead(scheme, paths) {
  const page = await reader({ colorScheme: scheme });
  let least = 21, marks = 0;
  for (const [path] of paths) {
    await page.goto(farm + path);
    for (const [contrast, mark] of await page.evaluate(contrasts)) {
      assert(contrast >= 6.5, `${path}, ${scheme}: "${mark}" has a contrast of ${contrast.toFixed(2)}`);
      least = Math.min(least, contrast);
      marks += 1;
    }
    await shoot(page, scheme, path);
  }
  say(`${scheme}: ${marks} marks, the least contrast is ${least.toFixed(2)}`);
}

async function shoot(page, how, path) {
  const name = path.replace(/[^a-z0-9]+/gi, "-").replace(/^-|-$/g, "").slice(0, 24) || "status";
  await page.screenshot({ path: `${folder}/${how}-${name}.png`, fullPage: true });
}

say(`chromium ${browser.version()}`);
await theCulpritIsJoined();
const build = await aChangeArrives();
const { culprit } = JSON.parse(await ask("the addresses"));
const paths = [
  ["/", "1 change of lang master breaks polite today."],
  ["/waterfall", "Say goodbye broke polite"],
  ["/breakages", "1 of them has a culprit"],
  ["/breakages/1", "Say goodbye broke"],
  [`/changes/${culprit}`, "It broke polite"],
  [build, "walker at Walk slowly passed"],
  [`${build}/log/0`, "line 3"],
  ["/workers", "w1"],
  ["/queue", "No builds are running or queued."],
];
await aLogIsInert(build);
await keysWalkTheRed();
await factsNeedNoScript(paths);
await aPhoneShowsAll(paths);
await statesCanBeRead("light", paths);
await statesCanBeRead("dark", paths);
assert.deepEqual(sins, [], "what no page may do");
say("no errors, no violations, no other host");
await browser.close();
process.exit(0);
