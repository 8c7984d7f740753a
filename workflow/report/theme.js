// Restore the colours chosen last time before anything is drawn. A page opened from disk may have no storage.
(() => {
  try {
    const theme = localStorage.getItem("kn-thesis-theme");
    if (theme === "light" || theme === "dark") document.documentElement.dataset.theme = theme;
  } catch {}
})();
