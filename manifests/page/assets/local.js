// Of a page that was opened as a file, where nothing can be fetched: it says what to do, and links
// that would need the viewer are none. No module: browsers load none from a file.

if (location.protocol === "file:") {
  const line = document.getElementById("local");
  const folder = decodeURIComponent(location.pathname.replace(/\/[^/]*$/, "")).replace(/^\/(?=[A-Za-z]:)/, "");
  if (/^[\w./:@%+=-]+$/.test(folder)) line.querySelector("span").textContent = folder;
  line.hidden = false;
  for (const link of document.querySelectorAll("a[data-sample]")) link.removeAttribute("href");
  document.getElementById("filters").open = false;
} else if (matchMedia("(max-width: 46rem)").matches) {
  document.getElementById("filters").open = false; // the images come first
}
