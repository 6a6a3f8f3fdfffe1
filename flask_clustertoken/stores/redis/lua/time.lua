-- The server's clock, in microseconds. ARGV: history
local wrong = mistaken()
if wrong then return wrong end
return {'ok', text(micros())}
