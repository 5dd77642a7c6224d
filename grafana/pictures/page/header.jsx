// The dashboard's header: its title, what is chosen, and the range.
import { dateTimeFormat } from '@grafana/data';

export function Header({ input: { dashboard, variables, range, timezone } }) {
  const time = (at) => dateTimeFormat(at, { timeZone: timezone, format: 'YYYY-MM-DD HH:mm:ss' });
  return (
    <div className="header">
      <div className="line">
        <h1>{dashboard.title}</h1>
        <span className="field"><b>{timezone}</b><span>{time(range.from)} to {time(range.to)}</span></span>
      </div>
      <div className="line">
        {variables.filter(({ hide }) => hide !== 2).map(({ name, label, hide, shown }) => (
          <span key={name} className="field">{hide !== 1 && <b>{label}</b>}<span>{shown || ' '}</span></span>
        ))}
      </div>
    </div>
  );
}
