import { describe, expect, it } from 'vitest';

describe('prices', () => {
  it('adds', () => { expect(1 + 1).toBe(2); });
  it('rounds', () => { expect(Math.floor(2.5)).toBe(3); });
  it.skip('converts', () => {});
  it.todo('is to be written');
  it.fails('is known to fail', () => { expect(1).toBe(2); });
  it.each(['plain', 'with space', 'größer'])('names %s', () => {});
});
