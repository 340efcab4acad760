// Colours for `.net` texts. The words come from netspec's grammar and its registry of layers.
import { LanguageSupport, StreamLanguage, indentUnit } from "@codemirror/language";
import { tagHighlighter, tags } from "@lezer/highlight";
import words from "./words.json";

const NAME = /^[A-Za-z_][A-Za-z0-9_]*/;
const LABEL = /^\s*((?:"(?:[^"\\\n]|\\.)*"|\{[^{}\n]*\}|[\w.-])+)(?=\s*:)/;
const kinds = new Map([
  ...words.keywords.map((word) => [word, "keyword"]),
  ...words.constants.map((word) => [word, "atom"]),
  ...words.operators.map((word) => [word, "operatorKeyword"]),
  ...words.ops.map((word) => [word, "variableName.standard"]),
]);
const declared = new Set(words.declared);

function name(stream, state) {
  const [word] = stream.match(NAME);
  if (state.expected) return state.expected;
  if (state.afterDot) return "propertyName";
  if (stream.match(/^\s*=(?!=)/, false)) return "variableName.definition";
  if (declared.has(word) && stream.match(/^\s+[A-Za-z_]\w*\s*:/, false)) return "keyword";
  const kind = kinds.get(word);
  if (kind) return kind;
  return stream.match(/^\s*\(/, false) ? "variableName.function" : null;
}

// A token's kind in CodeMirror's words; null for a plain name.
export function token(stream, state) {
  if (stream.eatSpace()) return null;
  if (state.label) {
    state.label = false;
    const [label] = stream.match(LABEL, false) || [];
    if (label) {
      stream.match(label);
      return "labelName";
    }
  }
  if (stream.match(/^#\s*\[[^\]\n]*\].*/)) return "meta";
  if (stream.match(/^#.*/)) return "comment";
  if (stream.match(/^"(?:[^"\\\n]|\\.)*"?/)) return "string";
  if (stream.match(/^[0-9][0-9_]*(?:\.[0-9_]+)?(?:[eE][+-]?[0-9]+)?/)) return "number";
  if (stream.match(NAME, false)) {
    const before = stream.current();
    const kind = name(stream, state);
    const word = stream.current().slice(before.length);
    state.expected = kind === "keyword" && (word === "net" || word === "block") ? "className" : null;
    state.afterDot = false;
    return kind;
  }
  state.expected = null;
  if (stream.match("->")) {
    state.label = stream.match(LABEL, false) !== null;
    return "operator";
  }
  if (stream.match(/^(?:\*\*|\/\/|[-+*/%<>=!]=?)/)) return "operator";
  const char = stream.next();
  if ("{([".includes(char)) state.depth += 1;
  if ("})]".includes(char)) state.depth = Math.max(0, state.depth - 1);
  state.afterDot = char === ".";
  return "()[]{},:.".includes(char) ? "punctuation" : null;
}

const language = StreamLanguage.define({
  name: "netspec",
  startState: () => ({ depth: 0, expected: null, afterDot: false, label: false }),
  copyState: (state) => ({ ...state }),
  token,
  indent: (state, after, context) =>
    context.unit * Math.max(0, state.depth - (/^\s*[})\]]/.test(after) ? 1 : 0)),
  languageData: { commentTokens: { line: "#" }, closeBrackets: { brackets: ["(", "[", "{", '"'] } },
});

export const netspec = () => new LanguageSupport(language, [indentUnit.of("    ")]);

// The classes that style.css colours.
export const colours = tagHighlighter([
  { tag: tags.keyword, class: "t-keyword" },
  { tag: [tags.atom, tags.bool, tags.null], class: "t-constant" },
  { tag: tags.standard(tags.variableName), class: "t-layer" },
  { tag: [tags.function(tags.variableName), tags.function(tags.definition(tags.variableName))],
    class: "t-function" },
  { tag: [tags.className, tags.definition(tags.className)], class: "t-class" },
  { tag: tags.definition(tags.variableName), class: "t-variable" },
  { tag: tags.labelName, class: "t-label" },
  { tag: tags.propertyName, class: "t-property" },
  { tag: tags.meta, class: "t-shape" },
  { tag: tags.comment, class: "t-comment" },
  { tag: tags.string, class: "t-string" },
  { tag: tags.number, class: "t-number" },
  { tag: [tags.operator, tags.punctuation, tags.derefOperator], class: "t-operator" },
]);
