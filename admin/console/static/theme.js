// Runs before the page is drawn, so that it does not flash in the other colours.
try {
  const kept = localStorage.getItem("ringcore-theme");
  if (kept === "light" || kept === "dark") document.documentElement.dataset.theme = kept;
} catch { /* storage may be forbidden: the system's choice holds */ }
