const test = require('node:test');
const assert = require('node:assert');

test('passes', () => { console.log('printed by a pass'); });
test('fails', () => { assert.deepStrictEqual({ a: 1 }, { a: 2 }); });
test('größer # als "erlaubt"', () => {});
test('skipped', { skip: 'no net' }, () => {});
test('to do', { todo: 'later' }, () => { throw new Error('not yet'); });
test('outer', async (t) => {
  await t.test('inner passes', () => {});
  await t.test('inner fails', () => { throw new TypeError('no'); });
});
test('empty outer', async () => {});
