// The page of a picture: a dashboard as Grafana lays it out, drawn once, with no network and no interaction.
import { ThemeContext, createTheme } from '@grafana/data';
import { initPluginTranslations } from '@grafana/i18n';
import { GlobalStyles, PortalContainer } from '@grafana/ui';
import { createRoot } from 'react-dom/client';
import { prepare, register } from './frames.js';
import { Header } from './header.jsx';
import { Panel } from './panel.jsx';
import './page.css';

const ROW = 30;
const GAP = 8;
const PADDING = 16;

window.problems = [];
start().catch((error) => {
  window.problems.push(`the page: ${error.stack}`);
  window.drawn = true;
});

async function start() {
  await initPluginTranslations('grafana');
  register();
  const { input } = window;
  const theme = createTheme({ colors: { mode: 'dark' } });
  // Titles show what a choice is called; everything else works with its value.
  const filled = (usual) => (text) => String(text ?? '').replace(/\$(\w+)|\$\{(\w+)(?::(\w+))?\}/g, (whole, a, b, format) => {
    const variable = input.variables.find(({ name }) => name === (a ?? b));
    if (!variable) return whole;
    return (format ?? usual) === 'text' ? variable.shown : String(variable.value);
  });
  const context = { theme, timezone: input.timezone, replace: filled('value'), titled: filled('text'), marks: input.marks };
  for (const answer of input.panels) {
    try {
      answer.data = await prepare(answer, context);
    } catch (error) {
      answer.data = [];
      answer.errors.push(error.message);
      window.problems.push(`${answer.panel.title}: ${error.message}`);
    }
  }
  createRoot(document.getElementById('page')).render(
    <ThemeContext.Provider value={theme}>
      <GlobalStyles isExtensionDevMode={false} />
      <Dashboard input={input} context={context} />
      <PortalContainer />
    </ThemeContext.Provider>,
  );
  await document.fonts.ready;
  await settled();
  window.drawn = true;
}

/** Until nothing has changed for a while: components measure themselves and draw again. */
function settled() {
  return new Promise((resolve) => {
    let timer = setTimeout(resolve, 700);
    new MutationObserver(() => {
      clearTimeout(timer);
      timer = setTimeout(resolve, 700);
    }).observe(document.body, { childList: true, subtree: true, attributes: true });
  });
}

function Dashboard({ input, context }) {
  const width = document.documentElement.clientWidth;
  const column = (width - 2 * PADDING + GAP) / 24;
  const place = ({ x, y, w, h }) => ({
    left: x * column, top: y * (ROW + GAP), width: w * column - GAP, height: h * (ROW + GAP) - GAP,
  });
  const answers = new Map(input.panels.map((answer) => [answer.panel, answer]));
  const rows = input.dashboard.panels;
  const height = Math.max(0, ...rows.map(({ gridPos: { y, h } }) => (y + h) * (ROW + GAP)));
  return (
    <>
      <Header input={input} />
      <div className="grid" style={{ height, margin: `0 ${PADDING}px ${PADDING}px` }}>
        {rows.map((panel, n) => (
          <div key={n} className="place" style={place(panel.gridPos)}>
            {panel.type === 'row'
              ? <Row panel={panel} title={context.titled(panel.title)} />
              : <Panel answer={find(answers, panel)} size={place(panel.gridPos)} context={context} />}
          </div>
        ))}
      </div>
    </>
  );
}

// The panels of the input were copied on their way: they are known by their places.
function find(answers, { gridPos: { x, y } }) {
  for (const [panel, answer] of answers) if (panel.gridPos.x === x && panel.gridPos.y === y) return answer;
  throw new Error(`no answer for the panel at ${x}, ${y}`);
}

function Row({ panel, title }) {
  return (
    <div className="divider">
      <span className="arrow">{panel.collapsed ? '›' : '⌄'}</span>
      {title}
      {panel.collapsed && <span className="dim"> ({(panel.panels ?? []).length} panels)</span>}
    </div>
  );
}
