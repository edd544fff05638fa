// Questions to the bus: GatewayCall("name", payload, timeout) asks whoever serves `call.<name>` there.
//
// Payload and answer are JSON texts: a number as DoubleToString writes it, GatewayText("...") for a
// text, or an object. Include this in any expert or script of your own; open the gateway's pipe in
// OnInit, close it in OnDeinit. An expert asks from its own thread, so a question that waits holds
// back nothing but this expert, and never longer than its timeout. An indicator must not wait: there,
// and wherever ticks must not be missed, ask with GatewayCallLater.
#ifndef MT4GATEWAY_CALLS_MQH
#define MT4GATEWAY_CALLS_MQH

#include <Mt4Gateway/Json.mqh>
#include <Mt4Gateway/Pipe.mqh>

#define GATEWAY_ANSWERED 7401       // OnChartEvent: id CHARTEVENT_CUSTOM + this, lparam the call's number
#define MOST_OPEN_CALLS 64
#define CALL_POLL_MS 1
#define ANSWER_HEAD "{\"kind\":\"answer\",\"call\":"
#define MOST_CALL_DIGITS 9

struct OpenCall
  {
   int               number;        // 0: free
   long              until_ms;
   bool              is_answered;
   bool              is_told;       // by an event; a call that is waited for has none
   string            answer;
   string            problem;
  };

class GatewayCaller
  {
private:
   PipeFile          pipe;
   OpenCall          calls[MOST_OPEN_CALLS];
   int               last_number;
   string            problem;

   int               FindCall(int number) const;
   int               AnsweredNumber();
   void              TakeAnswer();
   void              Settle(int at, string answer, string with_problem);
   bool              IsJson(string text) const;
   int               Begin(string name, string payload, int timeout_ms, bool has_event);
   void              Send(int number, string name, string payload, int timeout_ms);

public:
                     GatewayCaller();
   void              Open(string pipe_name, string program) { pipe.Start(pipe_name, "calls", program); }
   void              Close() { pipe.Close(); }
   bool              IsOpen() const { return(pipe.IsOpen()); }
   string            Problem() const { return(problem); }
   void              Poll();
   string            Call(string name, string payload, int timeout_ms);
   int               CallLater(string name, string payload, int timeout_ms);
   string            Take(int number);
  };

GatewayCaller::GatewayCaller()
  {
   last_number = 0;
   for(int i = 0; i < MOST_OPEN_CALLS; i++)
      calls[i].number = 0;
  }

int GatewayCaller::FindCall(int number) const
  {
   for(int i = 0; i < MOST_OPEN_CALLS; i++)
      if(calls[i].number == number)
         return(i);
   return(-1);
  }

bool GatewayCaller::IsJson(string text) const
  {
   uchar bytes[];
   JsonReader reader;
   int count = StringToCharArray(text, bytes, 0, WHOLE_ARRAY, CP_UTF8) - 1;
   for(int i = 0; i < count; i++)
      if(bytes[i] == '\n')
         return(false);
   return(reader.Parse(bytes, 0, count));
  }

// ---- asking -------------------------------------------------------------------------------------

// The call's number, 0 if it cannot be asked.
int GatewayCaller::Begin(string name, string payload, int timeout_ms, bool has_event)
  {
   int at = FindCall(0);
   problem = "";
   if(at < 0)
      problem = "busy";
   else if(timeout_ms < 1 || !IsJson(payload) || !IsJson("\"" + name + "\""))
      problem = "bad_call";
   if(problem != "")
      return(0);
   last_number++;
   calls[at].number = last_number;
   calls[at].until_ms = ClockMs() + timeout_ms;
   calls[at].is_answered = false;
   calls[at].is_told = !has_event;
   calls[at].answer = "";
   calls[at].problem = "";
   return(last_number);
  }

void GatewayCaller::Send(int number, string name, string payload, int timeout_ms)
  {
   uchar bytes[];
   string line = "{\"kind\":\"call\",\"call\":" + IntegerToString(number) + ",\"name\":\"" + name + "\",\"timeout_s\":" +
                 DoubleToString(timeout_ms / 1000.0, 3) + ",\"payload\":" + payload + "}";
   int count = StringToCharArray(line, bytes, 0, WHOLE_ARRAY, CP_UTF8) - 1;
   pipe.Add(bytes, 0, count);
   pipe.EndLine();
  }

// Ask and wait for the answer, at most so long. Empty: there is none, and Problem says why.
string GatewayCaller::Call(string name, string payload, int timeout_ms)
  {
   long until_ms = ClockMs() + timeout_ms;
   Poll();
   while(!pipe.IsOpen() && ClockMs() < until_ms && !IsStopped())
     {
      Sleep(CALL_POLL_MS);
      Poll();
     }
   int left_ms = (int)(until_ms - ClockMs());
   if(!pipe.IsOpen() || left_ms < 1)
     {
      problem = "no_gateway";
      return("");
     }
   int number = Begin(name, payload, left_ms, false);
   if(number == 0)
      return("");
   Send(number, name, payload, left_ms);
   int at = FindCall(number);
   while(!calls[at].is_answered && !IsStopped())
     {
      Sleep(CALL_POLL_MS);
      Poll();
     }
   return(Take(number));
  }

// Ask and go on: returns the call's number, 0 with a problem. When it is answered, or is not in time,
// OnChartEvent is called (GATEWAY_ANSWERED), and Take gives the answer. Call Poll by a timer.
int GatewayCaller::CallLater(string name, string payload, int timeout_ms)
  {
   Poll();
   if(!pipe.IsOpen())
     {
      problem = "no_gateway";
      return(0);
     }
   int number = Begin(name, payload, timeout_ms, true);
   if(number != 0)
      Send(number, name, payload, timeout_ms);
   return(number);
  }

// The answer, once. Empty: there is none (yet), and Problem says why.
string GatewayCaller::Take(int number)
  {
   int at = number == 0 ? -1 : FindCall(number);
   problem = at < 0 ? "not_asked" : (calls[at].is_answered ? calls[at].problem : "not_answered_yet");
   if(at < 0 || !calls[at].is_answered)
      return("");
   calls[at].number = 0;
   return(calls[at].answer);
  }

// ---- answers ------------------------------------------------------------------------------------

// Take in what has come, and give up what is late. Call it by a timer, a few times a second or more.
void GatewayCaller::Poll()
  {
   int connection = pipe.connection;
   pipe.Poll();
   while(pipe.NextLine())
      TakeAnswer();
   long now_ms = ClockMs();
   bool is_cut = !pipe.IsOpen() || pipe.connection != connection;
   for(int i = 0; i < MOST_OPEN_CALLS; i++)
     {
      if(calls[i].number == 0)
         continue;
      if(!calls[i].is_answered && is_cut)
         Settle(i, "", "no_gateway");
      if(!calls[i].is_answered && now_ms >= calls[i].until_ms)
         Settle(i, "", "timeout");
      if(calls[i].is_answered && !calls[i].is_told)
         calls[i].is_told = EventChartCustom(0, GATEWAY_ANSWERED, calls[i].number, 0.0, "");
     }
  }

void GatewayCaller::Settle(int at, string answer, string with_problem)
  {
   calls[at].is_answered = true;
   calls[at].answer = answer;
   calls[at].problem = with_problem;
  }

// {"kind":"answer","call":7,"payload":...} or with "error". An answer that nobody waits for any more
// is dropped: its number is not used again.
void GatewayCaller::TakeAnswer()
  {
   JsonReader reader;
   int number = AnsweredNumber();
   int at = number == 0 ? -1 : FindCall(number);
   if(at < 0 || calls[at].is_answered)
      return;
   bool is_json = reader.Parse(pipe.line, 0, pipe.line_length);
   int payload = is_json ? reader.Find(0, "payload") : -1;
   int error = is_json ? reader.Find(0, "error") : -1;
   if(error >= 0)
      Settle(at, "", reader.Text(error));
   else if(payload >= 0)
      Settle(at, reader.Source(payload), "");
   else
      Settle(at, "", "bad_answer");
  }

// Which call a line answers, 0 if none: told by its beginning, so that an answer that cannot be read
// is told as one.
int GatewayCaller::AnsweredNumber()
  {
   if(!BeginsWith(pipe.line, pipe.line_length, ANSWER_HEAD))
      return(0);
   int number = 0;
   int from = StringLen(ANSWER_HEAD);
   int end = MathMin(pipe.line_length, from + MOST_CALL_DIGITS);
   for(int i = from; i < end && pipe.line[i] >= '0' && pipe.line[i] <= '9'; i++)
      number = 10 * number + pipe.line[i] - '0';
   return(number);
  }

// ---- for programs -------------------------------------------------------------------------------

// The one global of an include: these calls are to be as short as they can be.
GatewayCaller gateway_caller;

// Open the gateway's pipe, in OnInit. It is opened again by itself whenever it is lost.
void GatewayOpen(string pipe_name, string program) { gateway_caller.Open(pipe_name, program); }
void GatewayClose() { gateway_caller.Close(); }
void GatewayPoll() { gateway_caller.Poll(); }
string GatewayCall(string name, string payload, int timeout_ms) { return(gateway_caller.Call(name, payload, timeout_ms)); }
int GatewayCallLater(string name, string payload, int timeout_ms) { return(gateway_caller.CallLater(name, payload, timeout_ms)); }
string GatewayAnswer(int number) { return(gateway_caller.Take(number)); }

// Why the last call has no answer: nobody_listens, timeout, no_gateway, no_bus, busy, bad_call or
// bad_answer; empty if it has one.
string GatewayProblem() { return(gateway_caller.Problem()); }

// A text as JSON.
string GatewayText(string text)
  {
   JsonWriter writer;
   writer.Text(text);
   return(CharArrayToString(writer.bytes, 0, writer.length, CP_UTF8));
  }

#endif
