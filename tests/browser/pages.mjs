// Checks the pages of a real farm with a real browser. tests/tests/browser.rs starts it, sets up the farm, and answers on
// stdin what this script asks on stdout (`ask ...`). The first failed assertion ends the script.

import assert from "node:assert/strict";
import { mkdirSync } from "node:fs";
import { createInterface } from "node:readline";
import { chromium } from "playwright-core";

const { FARM_URL: farm, FARM_CHROMIUM: executablePath, FARM_SCREENSHOTS: folder } = process.env;
const answers = createInterface({ input: process.stdin })[Symbol.asyncIterator]();
const ask = async (what) => { console.log(`ask ${what}`); return (await answers.next()).value; };
const report = (what) => console.log(`say ${what}`);

// Longer than anything here takes on a busy machine.
const TIMEOUT_MS = 60_000;
const FLAGS = ["--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run", "--disable-background-networking",
  "--disable-component-update", "--disable-sync"];
const browser = await chromium.launch({ executablePath, args: FLAGS, timeout: TIMEOUT_MS });
mkdirSync(folder, { recursive: true });

// Errors, warnings and requests to other hosts: no page may ever cause any.
const violations = [];
async function openPage(options = {}) {
  const context = await browser.newContext({ viewport: { width: 1280, height: 900 }, ...options });
  context.setDefaultTimeout(TIMEOUT_MS);
  if (options.javaScriptEnabled !== false) {
    await context.addInitScript(() => addEventListener("securitypolicyviolation",
      (event) => console.error(`content security policy: ${event.violatedDirective} ${event.blockedURI}`)));
  }
  const page = await context.newPage();
  page.on("pageerror", (error) => violations.push(`${page.url()}: ${error}`));
  page.on("console", (message) =>
    ["error", "warning"].includes(message.type()) && violations.push(`${page.url()}: ${message.text()}`));
  page.on("request", (request) => request.url().startsWith(`${farm}/`) || violations.push(`${page.url()} requested ${request.url()}`));
  return page;
}
const text = (page) => page.locator("main").innerText();

/** Checks that a new change appears in the open waterfall. Returns the path of the slow build of project `walker`. */
async function checkNewChangeAppears() {
  const page = await openPage();
  await page.goto(`${farm}/waterfall`);
  await page.getByText("live", { exact: true }).waitFor();
  await page.evaluate(() => { window.sameDocument = true; });
  await page.keyboard.press("j");
  const selected = await page.locator(".here").getAttribute("href");
  const columns = await page.locator(".fall thead tr:first-child th").allInnerTexts();
  const walker = columns.indexOf("walker");
  assert(walker > 0, `no column for walker among ${columns}`);
  await ask("a slow change");
  const cell = page.locator("tr", { hasText: "Walk slowly" }).locator("td").nth(walker - 1);
  const running = cell.locator("a.running");
  await running.waitFor();
  const build = await running.getAttribute("href");
  await checkLogGrows(build);
  await cell.locator("a.passed").waitFor();
  assert(await page.evaluate(() => window.sameDocument), "the waterfall was reloaded");
  assert.equal(await page.locator(".here").getAttribute("href"), selected, "the reader's selection was lost");
  report("the waterfall shows a new change and its builds without a reload");
  return build;
}

async function checkLogGrows(build) {
  const page = await openPage();
  await page.goto(farm + build);
  await page.evaluate(() => { window.sameDocument = true; });
  const lines = page.locator(".log[data-follow] .l");
  const seen = await lines.count();
  await page.waitForFunction((seen) => document.querySelectorAll(".log[data-follow] .l").length > seen + 2, seen);
  const numbers = (await page.locator(".log .l > a").allInnerTexts()).map(Number);
  assert.deepEqual(numbers, numbers.map((_, n) => numbers[0] + n), "lines are missing, repeated or out of order");
  report(`the log grew from ${seen} to ${numbers.length} lines while its step ran`);
  await page.screenshot({ path: `${folder}/live-log.png`, fullPage: true });
  await page.getByText("walker at Walk slowly passed").waitFor();
  assert(await page.evaluate(() => window.sameDocument), "the build's page was reloaded");
  assert.equal(await page.locator("[data-follow]").count(), 0, "the page still follows the log of a step that has ended");
  report("the build's page shows that the build has ended");
}

/** Checks that markup in a log stays text, and that each line has an address. */
async function checkLogIsInert(build) {
  const page = await openPage();
  await page.goto(`${farm}${build}/log/0`);
  const log = page.locator(".log");
  assert((await log.innerText()).includes("<script>document.title = 'owned'</script>"));
  assert.equal(await log.locator("script, b, img").count(), 0);
  assert(!(await page.title()).includes("owned"));
  await page.locator("#L3 > a").click();
  assert(page.url().endsWith("#L3"));
  report("a log is inert");
}

/** Checks that a line (`.beam`) leads from the culprit's row to the column that it broke, where the vertical `.rail` begins. */
async function checkCulpritIsJoined() {
  const page = await openPage();
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
  // Every row above the culprit has the rail.
  const rails = await page.locator(".fall tbody tr").evaluateAll((rows, column) => {
    const culprit = rows.findIndex((row) => row.classList.contains("culprit"));
    return rows.slice(0, culprit).map((row) => row.cells[column].querySelectorAll(".rail").length);
  }, columns.indexOf("polite"));
  assert(rails.length > 0 && rails.every((count) => count === 1), `the rail has gaps: ${rails}`);
  report("the culprit is joined to the column that it broke");
}

async function checkKeysSelectFailures() {
  const page = await openPage();
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
  report("keys move between failures");
}

async function checkWithoutJavaScript(paths) {
  const page = await openPage({ javaScriptEnabled: false });
  for (const [path, fact] of paths) {
    await page.goto(farm + path);
    assert((await text(page)).includes(fact), `${path} does not show ${fact} without JavaScript`);
  }
  report("all facts are readable without JavaScript");
}

async function checkOnPhone(paths) {
  const page = await openPage({ viewport: { width: 390, height: 844 }, deviceScaleFactor: 2, isMobile: true, hasTouch: true });
  for (const [path] of paths) {
    await page.goto(farm + path);
    const [body, table, window] = await page.evaluate(() => {
      const scroller = document.querySelector(".scroller");
      const body = Math.max(document.documentElement.scrollWidth, document.body.scrollWidth, innerWidth);
      return [body, scroller?.scrollWidth, scroller?.clientWidth];
    });
    assert(body <= 390, `${path} is ${body} px wide on a phone`);
    if (path === "/waterfall") assert(table > window, "the table is too narrow to test scrolling");
    await takeScreenshot(page, "phone", path);
  }
  report("no page is wider than a phone");
}

/** Runs in the page: the contrast of each state mark, its text against its background. */
const contrasts = () => {
  const rgb = (colour) => colour.match(/[\d.]+/g).map(Number);
  const luminance = (colour) => {
    const [r, g, b] = colour.slice(0, 3).map((c) => c / 255).map((c) => c <= .04045 ? c / 12.92 : ((c + .055) / 1.055) ** 2.4);
    return .2126 * r + .7152 * g + .0722 * b;
  };
  const background = (element) => {
    for (let at = element; at; at = at.parentElement) {
      const colour = rgb(getComputedStyle(at).backgroundColor);
      if (colour.length === 3 || colour[3] === 1) return colour;
    }
    return [255, 255, 255];
  };
  const marks = document.querySelectorAll(".chip, .fall .b, .extras a, .strip a, .tag, .knot, .soft, main a, .log span");
  return [...marks].map((mark) => {
    const [one, other] = [luminance(rgb(getComputedStyle(mark).color)), luminance(background(mark))];
    return [(Math.max(one, other) + .05) / (Math.min(one, other) + .05), `${mark.className} ${mark.textContent.slice(0, 20)}`];
  });
};
async function checkContrast(scheme, paths) {
  const page = await openPage({ colorScheme: scheme });
  let lowest = 21, marks = 0;
  for (const [path] of paths) {
    await page.goto(farm + path);
    for (const [contrast, mark] of await page.evaluate(contrasts)) {
      assert(contrast >= 6.5, `${path}, ${scheme}: "${mark}" has a contrast of ${contrast.toFixed(2)}`);
      lowest = Math.min(lowest, contrast);
      marks += 1;
    }
    await takeScreenshot(page, scheme, path);
  }
  report(`${scheme}: ${marks} marks, the lowest contrast is ${lowest.toFixed(2)}`);
}

async function takeScreenshot(page, mode, path) {
  const name = path.replace(/[^a-z0-9]+/gi, "-").replace(/^-|-$/g, "").slice(0, 24) || "status";
  await page.screenshot({ path: `${folder}/${mode}-${name}.png`, fullPage: true });
}

report(`chromium ${browser.version()}`);
await checkCulpritIsJoined();
const build = await checkNewChangeAppears();
const { culprit } = JSON.parse(await ask("the addresses"));
const paths = [
  ["/", "1 change of lang master breaks polite today."],
  ["/waterfall", "Say goodbye broke 1 test of polite"],
  ["/breakages", "1 of them has a culprit"],
  ["/breakages/1", "Say goodbye broke"],
  [`/changes/${culprit}`, "It broke 1 test of polite"],
  [build, "walker at Walk slowly passed"],
  [`${build}/log/0`, "line 3"],
  ["/workers", "w1"],
  ["/queue", "No builds are running or queued."],
];
await checkLogIsInert(build);
await checkKeysSelectFailures();
await checkWithoutJavaScript(paths);
await checkOnPhone(paths);
await checkContrast("light", paths);
await checkContrast("dark", paths);
assert.deepEqual(violations, [], "what no page may do");
report("no errors, no violations, no other host");
await browser.close();
process.exit(0);
