// The gallery's filters: without this script they are hidden, and all samples are shown.
for (const filters of document.querySelectorAll(".filters")) {
  const section = filters.closest("section") || document;
  const samples = [...section.querySelectorAll(".samples > li")];
  const buttons = [...filters.querySelectorAll("button")];
  const select = filters.querySelector("select");
  const status = filters.querySelector("[role=status]");
  const show = () => {
    const kind = buttons.find((button) => button.ariaPressed === "true").dataset.kind;
    const wanted = select ? select.value : "";
    for (const sample of samples) {
      const named = !wanted || sample.dataset.classes.split(" ").includes(wanted);
      sample.hidden = !named || (kind && sample.dataset.kind !== kind);
    }
    for (const result of section.querySelectorAll(".gallery")) {
      const own = [...result.querySelectorAll(".samples > li")];
      result.hidden = own.length > 0 && own.every((sample) => sample.hidden);
    }
    status.textContent = `${samples.filter((sample) => !sample.hidden).length} of ${samples.length} samples are shown`;
  };
  for (const button of buttons) {
    button.addEventListener("click", () => {
      for (const other of buttons) other.ariaPressed = String(other === button);
      show();
    });
  }
  if (select) select.addEventListener("change", show);
  filters.hidden = samples.length === 0;
}
