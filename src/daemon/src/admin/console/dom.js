// Elements as plain descriptions, and the one function that makes the page follow them.
//
// A view is a function from what is known to descriptions made by `h`. `patch` changes only what differs from the last time, so
// that focus, selections, scroll positions and open disclosures survive a refresh every two seconds. Text is only ever set as a
// text node and attributes by name: nothing that comes from a database is read as markup.

const SVG_NAMESPACE = 'http://www.w3.org/2000/svg';

// `properties`: attributes; `on` has listeners by event; `set` has DOM properties such as `value`, set when the description
// changes and otherwise left to the person; `vars` has custom CSS properties; `key` tells siblings apart; `mounted`, `updated`
// and `removed` are called with the element, and `data` is theirs.
function h(tag, properties, ...children) {
  return { tag, properties: properties ?? {}, children: inSlots(children), element: null };
}

// Children by slot: where they stand, or their key. What is absent keeps its slot, so that its neighbours keep theirs. Two of one key
// (rows may be called alike) are told apart by which comes first.
function inSlots(children) {
  const seen = new Map();
  return slotsOf(children, '').map(({ slot, node }) => {
    const number = seen.get(slot) ?? 0;
    seen.set(slot, number + 1);
    return { slot: number ? `${slot}#${number}` : slot, node };
  });
}

function slotsOf(children, prefix) {
  const slots = [];
  children.forEach((child, index) => {
    if (Array.isArray(child)) {
      slots.push(...slotsOf(child, `${prefix}${index}.`));
    } else if (child !== null && child !== undefined && child !== false && child !== true && child !== '') {
      const node = typeof child === 'object' ? child : { text: String(child), element: null };
      const key = node.properties?.key;
      slots.push({ slot: key === undefined ? `${prefix}${index}` : `key:${key}`, node });
    }
  });
  return slots;
}

// What was made in this round and wants to know when it is part of the page.
const newElements = [];

// Shows descriptions in an element, which is theirs alone.
function show(container, ...children) {
  const active = document.activeElement;
  newElements.length = 0;
  const slots = inSlots(children);
  if (!container.shown) {
    container.replaceChildren();
  }
  patchChildren(container, container.shown ?? [], slots, false);
  container.shown = slots;
  newElements.forEach(({ element, properties }) => properties.mounted(element, properties.data));
  // An element that was moved among its siblings loses focus, though it is still there.
  if (active && active !== document.activeElement && active.isConnected && active !== document.body) {
    active.focus({ preventScroll: true });
  }
}

function patchChildren(parent, before, after, svg) {
  const left = new Map(before.map(({ slot, node }) => [slot, node]));
  const pairs = after.map(({ slot, node }) => {
    const old = left.get(slot);
    const same = old && old.tag === node.tag;
    if (same) {
      left.delete(slot);
    }
    return [same ? old : null, node];
  });
  left.forEach(remove);
  let next = parent.firstChild;
  for (const [old, node] of pairs) {
    const element = old ? patch(old, node, svg) : create(node, svg);
    if (element === next) {
      next = next.nextSibling;
    } else {
      parent.insertBefore(element, next);
    }
    if (!old && node.properties?.mounted) {
      newElements.push(node);
    }
  }
}

function create(node, svg) {
  if (node.text !== undefined) {
    node.element = document.createTextNode(node.text);
    return node.element;
  }
  const inside = svg || node.tag === 'svg';
  const element = inside ? document.createElementNS(SVG_NAMESPACE, node.tag) : document.createElement(node.tag);
  node.element = element;
  patchChildren(element, [], node.children, inside);
  setProperties(element, {}, node.properties);
  return element;
}

function patch(old, node, svg) {
  node.element = old.element;
  if (node.text !== undefined) {
    if (old.text !== node.text) {
      node.element.data = node.text;
    }
    return node.element;
  }
  patchChildren(node.element, old.children, node.children, svg || node.tag === 'svg');
  setProperties(node.element, old.properties, node.properties);
  node.properties.updated?.(node.element, node.properties.data);
  return node.element;
}

function remove(node) {
  forget(node);
  node.element.remove();
}

function forget(node) {
  node.properties?.removed?.(node.element);
  node.children?.forEach((child) => forget(child.node));
}

const NOT_ATTRIBUTES = new Set(['key', 'on', 'set', 'vars', 'mounted', 'updated', 'removed', 'data']);

function setProperties(element, before, after) {
  for (const name of Object.keys(before)) {
    if (!(name in after) && !NOT_ATTRIBUTES.has(name)) {
      element.removeAttribute(name);
    }
  }
  for (const [name, value] of Object.entries(after)) {
    if (!NOT_ATTRIBUTES.has(name) && before[name] !== value) {
      setAttribute(element, name, value);
    }
  }
  setEach(before.set, after.set, (name, value) => {
    element[name] = value;
  });
  setEach(before.vars, after.vars, (name, value) => element.style.setProperty(name, value));
  setListeners(element, after.on);
}

function setAttribute(element, name, value) {
  if (value === null || value === undefined || value === false) {
    element.removeAttribute(name);
  } else {
    element.setAttribute(name, value === true ? '' : value);
  }
}

function setEach(before, after, setOne) {
  for (const [name, value] of Object.entries(after ?? {})) {
    if (before?.[name] !== value) {
      setOne(name, value);
    }
  }
}

// One listener by event for as long as the element lives; what it calls is that of the newest description.
function setListeners(element, listeners) {
  element.listeners ??= {};
  for (const type of Object.keys(listeners ?? {})) {
    if (!(type in element.listeners)) {
      element.listeners[type] = undefined;
      element.addEventListener(type, (event) => element.listeners[type]?.(event));
    }
  }
  for (const type of Object.keys(element.listeners)) {
    element.listeners[type] = listeners?.[type];
  }
}

// A drawing of one or more paths in a square of 16 by 16; words beside it say the same.
function icon(...paths) {
  return h(
    'svg',
    { class: 'icon', viewBox: '0 0 16 16', 'aria-hidden': 'true', focusable: 'false' },
    paths.map((path) => h('path', { d: path })),
  );
}

const ICONS = {
  starting: ['M8 2a6 6 0 1 1-6 6', 'M8 5v3l2 2'],
  snapshotting: ['M3 4h10v8H3z', 'M3 8h10', 'M7 4v8'],
  streaming: ['M2 6c2-2 4 2 6 0s4-2 6 0', 'M2 10c2-2 4 2 6 0s4-2 6 0'],
  degraded: ['M8 2.5 14.5 13.5h-13z', 'M8 6.5v3.2', 'M8 11.6v.4'],
  paused: ['M5.5 3.5v9', 'M10.5 3.5v9'],
  halted: ['M5.2 2h5.6L14 5.2v5.6L10.8 14H5.2L2 10.8V5.2z', 'M5.8 5.8l4.4 4.4', 'M10.2 5.8l-4.4 4.4'],
  stopped: ['M4 4h8v8H4z'],
  copy: ['M6 6h8v8H6z', 'M10 6V2H2v8h4'],
  flow: ['M1 5c2-2 3 2 5 0s3-2 5 0', 'M1 8c2-2 3 2 5 0s3-2 5 0', 'M1 11c2-2 3 2 5 0s3-2 5 0', 'M12 4.5 15 8l-3 3.5'],
  light: [
    'M8 5a3 3 0 1 0 0 6 3 3 0 0 0 0-6z',
    'M8 1v2M8 13v2M1 8h2M13 8h2M3 3l1.5 1.5M11.5 11.5 13 13M13 3l-1.5 1.5M4.5 11.5 3 13',
  ],
  dark: ['M13 9.5A5.5 5.5 0 0 1 6.5 3 5.5 5.5 0 1 0 13 9.5z'],
  system: ['M2 3h12v8H2z', 'M6 14h4', 'M8 11v3'],
};
