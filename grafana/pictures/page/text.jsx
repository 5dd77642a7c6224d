// Text, by @grafana/data's own Markdown.
import { renderTextPanelMarkdown } from '@grafana/data';

export function TextPanel({ options, replace }) {
  const text = replace(options.content ?? '');
  const html = options.mode === 'html' ? text : renderTextPanelMarkdown(text);
  return <div className="words" dangerouslySetInnerHTML={{ __html: html }} />;
}
