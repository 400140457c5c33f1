// Reckons what nobody sees who only reads the source: contrast of every text as it is drawn, and what is cut off.
const channels = (text) => {
  const parts = text.match(/[\d.]+/g).map(Number);
  return { rgb: parts.slice(0, 3), alpha: parts.length > 3 ? parts[3] : 1 };
};
const behind = (element) => {
  const layers = [];
  for (let each = element; each; each = each.parentElement) layers.push(channels(getComputedStyle(each).backgroundColor));
  let below = [255, 255, 255];
  for (const { rgb, alpha } of layers.reverse()) below = below.map((value, n) => rgb[n] * alpha + value * (1 - alpha));
  return below;
};
const luminance = (rgb) => {
  const [r, g, b] = rgb.map((value) => {
    const share = value / 255;
    return share <= 0.04045 ? share / 12.92 : ((share + 0.055) / 1.055) ** 2.4;
  });
  return 0.2126 * r + 0.7152 * g + 0.0722 * b;
};
const faint = [];
let texts = 0;
for (const element of document.querySelectorAll("body *")) {
  const own = [...element.childNodes].filter((node) => node.nodeType === 3 && node.data.trim());
  const field = element.matches("input:not([type=hidden]):not([type=checkbox])");
  if ((!own.length && !field) || element.closest("svg") || !element.getClientRects().length) continue;
  texts += 1;
  const [light, dark] = [luminance(channels(getComputedStyle(element).color).rgb), luminance(behind(element))].sort((a, b) => b - a);
  const ratio = (light + 0.05) / (dark + 0.05);
  if (ratio < 4.5) faint.push(`${element.tagName} ${element.className} ${ratio.toFixed(2)}: ${element.textContent.trim().slice(0, 40)}`);
}
const root = document.documentElement;
const wide = root.scrollWidth > root.clientWidth
  ? [...document.querySelectorAll("body *")].filter((each) => each.getBoundingClientRect().right > root.clientWidth + 1).map((each) => `${each.tagName} ${each.className}`)
  : [];
return { texts, faint, wide, width: root.clientWidth };
