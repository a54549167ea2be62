// What the assistant offers when it is unsure: a press says the sentence.
import { useState } from 'react';
import { Button } from '@/components/ui/button';

export default function Choices() {
  const [said, setSaid] = useState('');
  return (
    <div className="lu-choices" data-testid="choices">
      {(props.options || []).map((option) => (
        <Button
          key={option.sentence} variant="outline" size="sm" title={option.sentence} data-testid="choice" disabled={!!said}
          onClick={() => { setSaid(option.sentence); sendUserMessage(option.sentence); }}
        >{option.label}</Button>
      ))}
    </div>
  );
}
