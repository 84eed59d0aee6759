// One pixel of a picture is one pixel of the screen, whatever the browser's zoom.
'use strict';

function fit() {
  for (const image of document.querySelectorAll('img.true-pixels')) {
    if (image.naturalWidth) image.style.width = `${image.naturalWidth / window.devicePixelRatio}px`;
  }
}

for (const image of document.querySelectorAll('img.true-pixels')) {
  image.addEventListener('load', fit);
}
window.addEventListener('resize', fit);
fit();
