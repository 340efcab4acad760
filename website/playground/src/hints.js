// Shapes behind the stages of a text, as words of the page that are no part of the text.
import { StateEffect, StateField } from "@codemirror/state";
import { Decoration, EditorView, WidgetType } from "@codemirror/view";

class Shape extends WidgetType {
  constructor(hint) {
    super();
    this.hint = hint;
  }
  eq(other) {
    return other.hint.text === this.hint.text && other.hint.tooltip === this.hint.tooltip;
  }
  toDOM() {
    const shown = document.createElement("span");
    shown.className = "hint";
    shown.textContent = this.hint.text;
    shown.title = this.hint.tooltip;
    return shown;
  }
}

const set = StateEffect.define();

export const shapeHints = StateField.define({
  create: () => Decoration.none,
  update(shown, change) {
    for (const effect of change.effects) {
      if (effect.is(set)) return Decoration.set(effect.value.map(
        (hint) => Decoration.widget({ widget: new Shape(hint), side: 1 }).range(hint.at),
      ));
    }
    return shown.map(change.changes);
  },
  provide: (field) => EditorView.decorations.from(field),
});

export const showShapes = (view, hints) => view.dispatch({ effects: set.of(hints) });
