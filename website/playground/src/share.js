// A text in the address of the page: compressed, behind `#text=`; arguments behind `&set=`.
const MOST = 1024 * 1024; // bytes: netspec reads no larger file

async function through(stream, bytes) {
  const parts = [];
  let size = 0;
  const reader = new Blob([bytes]).stream().pipeThrough(stream).getReader();
  for (;;) {
    const { done, value } = await reader.read();
    if (done) break;
    size += value.length;
    if (size > MOST) throw new Error("the text in the address is too long");
    parts.push(value);
  }
  return new Uint8Array(await new Blob(parts).arrayBuffer());
}

export async function fragment(text) {
  const packed = await through(new CompressionStream("deflate-raw"), new TextEncoder().encode(text));
  const letters = Array.from(packed, (byte) => String.fromCharCode(byte)).join("");
  return `#text=${btoa(letters).replaceAll("+", "-").replaceAll("/", "_").replace(/=+$/, "")}`;
}

// The text of an address; null if it has none that can be read.
export async function shared(hash) {
  const [, packed] = /^#text=([\w-]+)(&|$)/.exec(hash) || [];
  if (!packed) return null;
  try {
    const letters = atob(packed.replaceAll("-", "+").replaceAll("_", "/"));
    const bytes = Uint8Array.from(letters, (char) => char.charCodeAt(0));
    const text = await through(new DecompressionStream("deflate-raw"), bytes);
    return new TextDecoder("utf-8", { fatal: true }).decode(text);
  } catch {
    return null;
  }
}

export const fragmentOfSettings = (settings) =>
  settings.trim() ? `&set=${encodeURIComponent(settings.trim())}` : "";

// The arguments of an address; none if they cannot be read.
export function sharedSettings(hash) {
  const [, settings] = /&set=([^&]*)$/.exec(hash) || [];
  try {
    return decodeURIComponent(settings ?? "");
  } catch {
    return "";
  }
}
