// What a person who cannot see well, or has no mouse, would stumble over in what the page shows now: a list of sentences, empty where
// there is nothing. Run as the body of a function in the page.

const visible = (element) => element.checkVisibility({ opacityProperty: true, visibilityProperty: true }) && element.getClientRects().length > 0;
const all = (selector) => [...document.querySelectorAll(selector)].filter(visible);
const named = (element) => `${element.tagName.toLowerCase()}${element.id ? `#${element.id}` : ''}.${element.getAttribute('class') ?? ''} "${element.textContent.trim().slice(0, 40)}"`;
const found = [];

function nameOf(element) {
  const by = element.getAttribute('aria-labelledby');
  const labelled = by && by.split(' ').map((id) => document.getElementById(id)?.textContent ?? '').join(' ').trim();
  const labels = [...(element.labels ?? [])].map((label) => label.textContent.trim()).join(' ');
  return labelled || element.getAttribute('aria-label') || labels || element.textContent.trim();
}

// --- names

for (const element of all('button, a[href], [role="img"], [role="meter"], progress, summary')) {
  if (!nameOf(element)) {
    found.push(`without a name: ${named(element)}`);
  }
}
for (const element of all('input, select, textarea')) {
  if (!(element.labels?.length || element.getAttribute('aria-label') || element.getAttribute('aria-labelledby'))) {
    found.push(`a field without a label: ${named(element)}`);
  }
}
for (const element of document.querySelectorAll('img:not([alt])')) {
  found.push(`an image without words: ${named(element)}`);
}

// --- structure

const ids = [...document.querySelectorAll('[id]')].map((element) => element.id);
for (const id of new Set(ids.filter((id, index) => ids.indexOf(id) !== index))) {
  found.push(`an id twice: ${id}`);
}
for (const element of document.querySelectorAll('[aria-describedby], [aria-labelledby], label[for]')) {
  for (const attribute of ['aria-describedby', 'aria-labelledby', 'for']) {
    for (const id of (element.getAttribute(attribute) ?? '').split(' ').filter(Boolean)) {
      if (!document.getElementById(id)) {
        found.push(`${attribute} names nothing: ${id}`);
      }
    }
  }
}
if (all('h1').length !== 1) {
  found.push(`${all('h1').length} headings of the first level`);
}
let level = 0;
for (const heading of all('h1, h2, h3, h4')) {
  const own = Number(heading.tagName[1]);
  if (own > level + 1 && level > 0) {
    found.push(`a heading of level ${own} after one of ${level}: ${named(heading)}`);
  }
  level = own;
}
for (const element of all('[tabindex]')) {
  if (element.tabIndex > 0) {
    found.push(`an own order of tabs: ${named(element)}`);
  }
}
for (const landmark of ['main', 'header', 'nav[aria-label]', 'footer']) {
  if (all(landmark).length === 0) {
    found.push(`no ${landmark}`);
  }
}
for (const cell of all('th')) {
  if (!cell.getAttribute('scope')) {
    found.push(`a heading of a table without a scope: ${named(cell)}`);
  }
}

// --- contrast, as the Web Content Accessibility Guidelines reckon it: 4.5 to 1 for text, 3 to 1 for large text

const canvas = document.createElement('canvas');
canvas.width = 1;
canvas.height = 1;
const drawing = canvas.getContext('2d', { willReadFrequently: true });

// Any colour as red, green, blue and opacity.
function channels(text) {
  drawing.clearRect(0, 0, 1, 1);
  drawing.fillStyle = text;
  drawing.fillRect(0, 0, 1, 1);
  const [red, green, blue, alpha] = drawing.getImageData(0, 0, 1, 1).data;
  return [red, green, blue, alpha / 255];
}

function luminance(rgb) {
  const [red, green, blue] = rgb.map((value) => {
    const share = value / 255;
    return share <= 0.04045 ? share / 12.92 : ((share + 0.055) / 1.055) ** 2.4;
  });
  return 0.2126 * red + 0.7152 * green + 0.0722 * blue;
}

function over(front, back) {
  return [0, 1, 2].map((index) => front[index] * front[3] + back[index] * (1 - front[3]));
}

function groundOf(element) {
  const layers = [];
  for (let at = element; at; at = at.parentElement) {
    const layer = channels(getComputedStyle(at).backgroundColor);
    layers.push(layer);
    if (layer[3] === 1) {
      break;
    }
  }
  return layers.reverse().reduce((ground, layer) => over(layer, ground), [255, 255, 255]);
}

function contrast(element) {
  const ground = groundOf(element);
  const ink = over(channels(getComputedStyle(element).color), ground);
  const [lighter, darker] = [luminance(ink), luminance(ground)].sort((a, b) => b - a);
  return (lighter + 0.05) / (darker + 0.05);
}

const texts = new Set();
const walker = document.createTreeWalker(document.body, NodeFilter.SHOW_TEXT);
while (walker.nextNode()) {
  const element = walker.currentNode.parentElement;
  if (walker.currentNode.data.trim() && !element.closest('script, style, svg, .unseen, [hidden]') && visible(element)) {
    texts.add(element);
  }
}
for (const element of texts) {
  const style = getComputedStyle(element);
  const size = parseFloat(style.fontSize);
  const large = size >= 24 || (size >= 18.66 && Number(style.fontWeight) >= 700);
  const ratio = contrast(element);
  if (ratio < (large ? 3 : 4.5)) {
    found.push(`contrast ${ratio.toFixed(2)} of ${named(element)}`);
  }
}

return found;
