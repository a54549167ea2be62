// One call that waits for a person. What it shows was written by the server from the book; a click sends an id and a choice, nothing else.
import { useEffect, useRef, useState } from 'react';
import { Button } from '@/components/ui/button';

export default function Approval() {
  const [shown, setShown] = useState(props);
  const [busy, setBusy] = useState('');
  const [words, setWords] = useState('');
  const card = useRef(null);
  // what waits for a person must be seen by that person
  useEffect(() => { if (props.open && card.current) card.current.scrollIntoView({ block: 'nearest' }); }, []);
  useEffect(() => { setShown(props); }, [props.status, props.outcome, props.id]);

  async function press(name) {
    setBusy(name);
    setWords('');
    let answer = null;
    try { answer = await callAction({ name, payload: { id: shown.id } }); } catch (error) { answer = null; }
    const said = answer && answer.response;
    if (said && said.props) setShown(said.props);
    // no response means that the server did not decide: it must never look like a yes
    if (!said) setWords('Nothing was decided: the server did not answer. Reload the page and look again.');
    else if (!said.ok) setWords(said.message);
    setBusy('');
  }

  const done = shown.status === 'consumed' || shown.status === 'approved';
  const tone = shown.open ? 'lu-wait' : done ? 'lu-good' : shown.status === 'denied' ? 'lu-bad' : '';
  const by = shown.decided_by && shown.decided_by.length ? ' by ' + shown.decided_by.join(', ') : '';
  return (
    <div className="lu-card" ref={card} data-testid="approval-card" data-status={shown.status} data-approval={shown.id}>
      <div className="lu-head">
        <span className="lu-title">{shown.tool}</span>
        <span className="lu-soft">{shown.target}</span>
        <span className={'lu-pill ' + tone} data-testid="approval-status">{shown.title}{by}</span>
      </div>
      {shown.reason ? <p className="lu-soft">{shown.reason}</p> : null}
      <dl className="lu-lines">
        {(shown.lines || []).flatMap((line, at) => [<dt key={'l' + at}>{line.label}</dt>, <dd key={'v' + at}>{line.value}</dd>])}
      </dl>
      {shown.details && shown.details.length ? (
        <details className="lu-fold"><summary>Exact arguments</summary>
          <dl className="lu-lines" style={{ marginTop: 8 }}>
            {shown.details.flatMap((line, at) => [<dt key={'l' + at}>{line.label}</dt>, <dd key={'v' + at}>{line.value}</dd>])}
          </dl>
        </details>
      ) : null}
      {shown.stop_rules && shown.stop_rules.length ? (
        <ul className="lu-rules">{shown.stop_rules.map((rule) => <li key={rule}>Standing rule: {rule}</li>)}</ul>
      ) : null}
      {shown.outcome ? <p data-testid="approval-outcome">{shown.outcome}</p> : null}
      {words ? <p className="lu-say lu-bad" data-testid="approval-words">{words}</p> : null}
      <div className="lu-foot">
        {shown.open ? (
          <>
            <Button data-testid="approve" disabled={!!busy} onClick={() => press('approve')}>{busy === 'approve' ? 'Working…' : 'Approve'}</Button>
            <Button data-testid="deny" variant="outline" disabled={!!busy} onClick={() => press('deny')}>Deny</Button>
          </>
        ) : null}
        <span className="lu-soft lu-small lu-end">
          {shown.id} · digest {shown.digest}{shown.open ? ' · expires ' + new Date(shown.expires_at).toLocaleString() : ''}
        </span>
      </div>
    </div>
  );
}
