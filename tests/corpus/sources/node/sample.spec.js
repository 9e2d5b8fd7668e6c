// For mocha and jest, which share these words.
const assert = require('node:assert');

describe('prices', () => {
  it('adds', () => {});
  it('rounds', () => { assert.strictEqual(2, 3); });
  it('errs', () => { throw new TypeError('größer als <erlaubt>'); });
  it.skip('converts', () => {});
  describe('of orders', () => {
    it('adds', () => {});
    it('prints', () => { console.log('printed & seen'); });
  });
});

describe('set-up', () => {
  (typeof before === 'undefined' ? beforeAll : before)(() => { throw new Error('nothing is set up'); });
  it('is never reached', () => {});
});
