// One picture at a time. The server knows where the rater is; this page only asks and shows.
'use strict';

const element = (id) => document.getElementById(id);
const frame = element('frame'), picture = element('picture'), message = element('message');
const buttons = [...element('buttons').children];
const PENDING = 'pending rating';
const LONGEST_WAIT = 5000;

let state = null;      // what the server said last; null while nothing may be rated
let upcoming = null;   // {position, blob}: the next picture, loaded while this one is looked at
let shownUrl = null;

const say = (text) => { message.textContent = text; };
const wait = (milliseconds) => new Promise((done) => setTimeout(done, milliseconds));

// Ask until there is a whole answer: a lost connection, a restarted server and a limit all pass.
async function ask(path, read, options) {
  const said = message.textContent;
  for (let pause = 250; ; pause = Math.min(2 * pause, LONGEST_WAIT)) {
    try {
      const answer = await fetch(path, options);
      if (answer.ok) {
        const content = await read(answer);
        if (message.textContent === message.dataset.offline) say(said);
        return content;
      }
      if (answer.status === 403) { location.reload(); return new Promise(() => {}); }
      if (answer.status < 500 && answer.status !== 429) throw new RangeError(answer.status);
    } catch (error) {
      if (error instanceof RangeError) throw error;
    }
    say(message.dataset.offline);
    await wait(pause);
  }
}

const load = (position) => ask(`/picture/${position}`, (answer) => answer.blob());

function enable(on) {
  for (const button of buttons) button.setAttribute('aria-disabled', String(!on));
}

async function show(next, note) {
  if (next.position === next.total) { location.reload(); return; }
  element('progress').value = next.position;
  element('progress').max = next.total;
  element('phase').hidden = !next.calibration;
  picture.hidden = true;
  say(note || message.dataset.loading);
  const blob = upcoming?.position === next.position ? await upcoming.blob : await load(next.position);
  if (shownUrl) URL.revokeObjectURL(shownUrl);
  shownUrl = picture.src = URL.createObjectURL(blob);
  await picture.decode();
  fit();
  picture.hidden = false;
  frame.scrollTo(0, 0);
  for (const button of buttons) button.classList.remove('chosen');
  element('count').textContent = element('count').dataset.text
    .replace('{position}', next.position + 1).replace('{total}', next.total);
  say(note || message.dataset.keys);
  enable(true);
  state = next;
  if (next.position + 1 < next.total) {
    upcoming = { position: next.position + 1, blob: load(next.position + 1) };
  }
}

async function rate(rating) {
  if (!state) return;
  const sent = { position: state.position, rating };
  state = null;
  // If the page goes before the answer comes, the next one sends it again.
  sessionStorage.setItem(PENDING, JSON.stringify(sent));
  enable(false);
  buttons[rating - 1].classList.add('chosen');
  say(message.dataset.saving);
  await send(sent);
}

async function send(sent) {
  const next = await ask('/rating', (answer) => answer.json(), {
    method: 'POST', headers: { 'Content-Type': 'application/json' }, body: JSON.stringify(sent),
  });
  sessionStorage.removeItem(PENDING);
  const note = next.reference && message.dataset.calibration
    .replace('{rating}', sent.rating).replace('{reference}', next.reference);
  await show(next, note);
}

async function begin() {
  const next = await ask('/state', (answer) => answer.json());
  const pending = JSON.parse(sessionStorage.getItem(PENDING) || 'null');
  if (pending && pending.position === next.position) await send(pending);
  else { sessionStorage.removeItem(PENDING); await show(next); }
}

for (const button of buttons) {
  button.addEventListener('click', () => rate(Number(button.dataset.rating)));
}
document.addEventListener('keydown', (event) => {
  const isPlain = !event.repeat && !event.ctrlKey && !event.altKey && !event.metaKey;
  if (isPlain && /^[1-5]$/.test(event.key)) rate(Number(event.key));
});
begin();
