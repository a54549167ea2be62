// Answers side by side, each labelled with what gave it. The text is a model's: shown as plain text.
export default function Answers() {
  return (
    <div className="lu-card" data-testid="answers-card">
      {props.prompt ? <div className="lu-head"><span className="lu-title">{props.prompt}</span></div> : null}
      <div className="lu-answers">
        {(props.answers || []).map((answer, at) => (
          <div className={'lu-answer ' + (answer.adapter ? 'lu-tuned' : '')} key={at} data-testid={answer.adapter ? 'answer-tuned' : 'answer-base'}>
            <div className="lu-head" style={{ marginBottom: 0 }}>
              <span className="lu-title">{answer.adapter ? 'Tuned' : 'Base'}</span>
              <span className="lu-pill">{answer.precision}</span>
            </div>
            <div className="lu-soft lu-small">
              {answer.model}{answer.adapter ? ' + ' + answer.adapter : ', no adapter'}
              {answer.tokens_per_s ? ' · ' + Number(answer.tokens_per_s).toFixed(1) + ' tokens/s' : ''}
            </div>
            <pre data-testid="answer-text">{answer.error || answer.text}</pre>
          </div>
        ))}
      </div>
    </div>
  );
}
