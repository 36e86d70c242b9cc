import { text } from './text.js';

const show = (words) => (document.querySelector('#text').textContent = words);
show(text);
import.meta.hot?.accept('./text.js', (changed) => show(changed.text));
