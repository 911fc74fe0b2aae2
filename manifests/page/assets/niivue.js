// NiiVue, asked for only when a reader wants it.

let loading = null;

export function hasWebGL2() {
  return document.createElement("canvas").getContext("webgl2") !== null;
}

// A view of an image in `place`: three planes and a rendering, with its label map where one is given,
// the cross at `at`, in mm. Returns how to end it.
export async function openNiiVue(place, address, at, { labels, regions, opacity, low, high }, { src, integrity }) {
  loading ??= loaded(src, integrity);
  const { Niivue } = await loading;
  const canvas = document.createElement("canvas");
  canvas.setAttribute("role", "img");
  canvas.setAttribute("aria-label", "The volume in NiiVue");
  canvas.tabIndex = 0;
  place.replaceChildren(canvas);
  const view = new Niivue({
    backColor: [0, 0, 0, 1], crosshairColor: [0.94, 0.7, 0.55, 1], crosshairWidth: 0.8, crosshairWidthUnit: "mm",
    show3Dcrosshair: true,
    dragAndDropEnabled: false, logLevel: "error",
  });
  await view.attachToCanvas(canvas);
  const volumes = [{ url: new URL(address, location.href).href, cal_min: low, cal_max: high }];
  if (labels) volumes.push({ url: new URL(labels, location.href).href, opacity });
  await view.loadVolumes(volumes);
  if (labels) {
    view.volumes[1].setColormapLabel(colours(regions));
    view.updateGLVolume();
  }
  view.setSliceType(view.sliceTypeMultiplanar);
  view.scene.crosshairPos = view.mm2frac(at);
  view.drawScene();
  return () => {
    view.gl?.getExtension("WEBGL_lose_context")?.loseContext();
    place.replaceChildren();
  };
}

// The colours of regions as NiiVue takes them; 0 is background, which it does not draw.
function colours(regions) {
  const all = [{ number: 0, name: "", colour: [0, 0, 0] }, ...regions.values()];
  const [R, G, B] = [0, 1, 2].map((part) => all.map(({ colour }) => colour[part]));
  return {
    R, G, B, A: all.map(({ number }) => (number ? 255 : 0)), I: all.map(({ number }) => number),
    labels: all.map(({ name }) => name),
  };
}

function loaded(src, integrity) {
  return new Promise((done, failed) => {
    const script = document.createElement("script");
    if (integrity) script.integrity = integrity;
    script.crossOrigin = "anonymous";
    script.onload = () => done(globalThis.niivue);
    script.onerror = () => {
      loading = null;
      script.remove();
      failed(new Error("NiiVue cannot be loaded, or is not the file that this page names"));
    };
    script.src = src;
    document.head.append(script);
  });
}
