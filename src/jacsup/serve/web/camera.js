// The camera: show its picture, take a photo, and leave it.

import { byId, element, say } from "./view.js";

// The number of times that a camera was requested or left; a stream from an earlier request is discarded.
let cameras = 0;

function stopTracks(stream) {
  for (const track of stream?.getTracks() ?? []) track.stop();
}

export function leaveCamera() {
  const video = byId("video");
  cameras++;
  stopTracks(video.srcObject);
  video.srcObject = null;
  if (document.activeElement === byId("camera-cancel")) byId("camera").focus();
  video.hidden = byId("camera-cancel").hidden = true;
  byId("camera").textContent = "Take a photo";
}

// The first click opens the camera, the second takes a photo; the button beside it, or Escape, cancels.
export async function takePhoto(then) {
  const video = byId("video"), button = byId("camera");
  if (video.srcObject) {
    if (!video.videoWidth) return;
    const canvas = element("canvas", { width: video.videoWidth, height: video.videoHeight });
    canvas.getContext("2d").drawImage(video, 0, 0);
    leaveCamera();
    canvas.toBlob(then);
    return;
  }
  // A second click in the meantime would start a second stream that is never stopped.
  button.disabled = true;
  const mine = ++cameras;
  try {
    const stream = await navigator.mediaDevices.getUserMedia({ video: { facingMode: "user" } });
    if (mine !== cameras) { stopTracks(stream); return; }
    video.srcObject = stream;
  } catch {
    say("No camera is available, or access was denied; open a file instead.", true);
    return;
  } finally {
    button.disabled = false;
  }
  video.hidden = byId("camera-cancel").hidden = false;
  button.textContent = "Take the photo";
}
