// Commands and market data over the gateway's named pipe: for a terminal that allows no DLL.
//
// Does what GatewayCommands and GatewayTicks do, through the same includes. Nothing here waits: each
// timer event opens the pipe if it is time to, takes what is there, answers it, and publishes. An
// expert has one thread, so while an order is being sent no price leaves; attach the program twice,
// as ROLE_COMMANDS and as ROLE_TICKS, where that matters.
#property copyright "the mt4-gateway authors"
#property version   "1.00"
#property description "Takes requests from mt4-gateway and publishes ticks over a named pipe. Needs no DLL."
#property strict

#include <Mt4Gateway/Clock.mqh>
#include <Mt4Gateway/CommandInputs.mqh>
#include <Mt4Gateway/Dispatcher.mqh>
#include <Mt4Gateway/Feed.mqh>
#include <Mt4Gateway/JsonMap.mqh>
#include <Mt4Gateway/Log.mqh>
#include <Mt4Gateway/Pipe.mqh>
#include <Mt4Gateway/Session.mqh>

enum ENUM_PIPE_ROLE
  {
   ROLE_TERMINAL,   // terminal: commands and ticks
   ROLE_COMMANDS,   // commands only
   ROLE_TICKS       // ticks only; never trades
  };

input string         PipeName = "mt4";      // The gateway's terminal.pipe_name
input ENUM_PIPE_ROLE Role = ROLE_TERMINAL;  // What this chart's program does

#define REQUEST_HEAD "{\"kind\":\"request\",\"correlation\":\""
#define MAX_CORRELATION 32
#define MOST_TICKS_WAITING 262144

// One line a map. While too much waits for a gateway that does not read, ticks are left out; their
// numbers show the gap.
class GatewayEnd : public Outlet
  {
private:
   long              dropped_count;

public:
   PipeFile          pipe;
   JsonMap           map;

                     GatewayEnd() { dropped_count = 0; }
   virtual bool      IsOpen() const { return(pipe.IsOpen()); }
   virtual void      Publish(string topic);
  };

void GatewayEnd::Publish(string topic)
  {
   if(pipe.Waiting() > MOST_TICKS_WAITING)
     {
      dropped_count++;
      if(dropped_count % 1000 == 1)
         LogWarning("publish_failed dropped=" + IntegerToString(dropped_count));
      return;
     }
   int dot = StringFind(topic, ".");
   pipe.AddAscii("{\"kind\":\"" + (dot < 0 ? topic : StringSubstr(topic, 0, dot)) + "\",");
   pipe.Add(map.json.bytes, 1, map.json.length - 1);
   pipe.EndLine();
  }

GatewayEnd gateway;
Feed       feed;
Dispatcher dispatcher;
JsonWriter command_reply;
uchar      request_bytes[];
string     correlation = "";        // of the request that is being answered
int        asked_on = 0;            // the connection it came over
bool       takes_commands = false;
bool       publishes = false;
int        greeted = 0;             // the connection that has had the present state
long       session_number = 0;

int OnInit()
  {
   DispatcherOptions options;
   if(!AreCommandInputsGood() || !IsNameGood())
      return(INIT_PARAMETERS_INCORRECT);
   ReadCommandInputs(options);
   options.program = "GatewayPipe";
   options.tick_variable = "";
   takes_commands = Role != ROLE_TICKS;
   publishes = Role != ROLE_COMMANDS;
   session_number = NewSession();
   if(takes_commands)
     {
      TellSession(session_number);
      dispatcher.Start(options, SessionName(session_number));
     }
   if(publishes)
      feed.Start(Symbol());
   gateway.pipe.Start(PipeName, RoleName(), "GatewayPipe");
   if(!EventSetMillisecondTimer(TimerMs))
      return(INIT_FAILED);
   LogInfo("started role=" + RoleName() + " session=" + SessionName(session_number));
   return(INIT_SUCCEEDED);
  }

string RoleName()
  {
   return(Role == ROLE_TERMINAL ? "terminal" : (Role == ROLE_COMMANDS ? "commands" : "ticks"));
  }

bool IsNameGood()
  {
   if(StringLen(PipeName) > 0 && StringLen(PipeName) <= 64 && StringFind(PipeName, "\\") < 0)
      return(true);
   LogError("bad_inputs reason=\"PipeName is the name alone, at most 64 characters, without \\\\.\\pipe\\\"");
   return(false);
  }

void OnDeinit(const int reason)
  {
   EventKillTimer();
   gateway.pipe.Close();
   if(takes_commands)
     {
      dispatcher.Stop();
      ForgetSession();
     }
   LogInfo("stopped reason=" + IntegerToString(reason));
  }

void OnTick()
  {
   if(publishes)
      feed.OnTick(gateway.map, gateway);
  }

void OnTimer()
  {
   gateway.pipe.Poll();
   if(takes_commands)
      dispatcher.OnTimer();
   ServeRequests();
   if(!publishes)
      return;
   if(gateway.pipe.IsOpen() && greeted != gateway.pipe.connection)
     {
      greeted = gateway.pipe.connection;
      feed.PublishSnapshot("", gateway.map, gateway);
     }
   feed.OnTimer(gateway.map, gateway);
  }

// ---- requests -----------------------------------------------------------------------------------

void ServeRequests()
  {
   if(takes_commands && dispatcher.IsWaiting())
     {
      if(!dispatcher.Resume(command_reply))
         return;
      SendReply();
     }
   while(gateway.pipe.NextLine())
      if(!ServeOne())
         return;
  }

// False: its answer is not there yet.
bool ServeOne()
  {
   int length = TakeRequest();
   if(length < 0 || !takes_commands)
     {
      LogWarning("pipe_line_ignored bytes=" + IntegerToString(gateway.pipe.line_length));
      return(true);
     }
   asked_on = gateway.pipe.connection;
   if(!dispatcher.Handle(request_bytes, length, 1, command_reply))
      return(false);
   SendReply();
   return(true);
  }

// Take the line apart: the correlation, and the request as it would be a frame of its own. Returns
// the request's length, -1 if the line is no request.
int TakeRequest()
  {
   int length = gateway.pipe.line_length;
   int from = StringLen(REQUEST_HEAD);
   if(!BeginsWith(gateway.pipe.line, length, REQUEST_HEAD))
      return(-1);
   int end = from;
   while(end < length && end - from <= MAX_CORRELATION && gateway.pipe.line[end] != '"')
      end++;
   if(end + 1 >= length || gateway.pipe.line[end] != '"')
      return(-1);
   correlation = CharArrayToString(gateway.pipe.line, from, end - from, CP_UTF8);
   int rest = gateway.pipe.line[end + 1] == ',' ? end + 2 : end + 1;
   ArrayResize(request_bytes, 1 + length - rest);
   request_bytes[0] = '{';
   ArrayCopy(request_bytes, gateway.pipe.line, 1, rest, length - rest);
   return(1 + length - rest);
  }

// A reply belongs to the connection that its request came over; on another nobody waits for it.
void SendReply()
  {
   if(asked_on != gateway.pipe.connection || !gateway.pipe.IsOpen())
     {
      LogWarning("reply_not_sent correlation=" + correlation);
      return;
     }
   gateway.pipe.AddAscii("{\"kind\":\"reply\",\"correlation\":\"" + correlation + "\",");
   gateway.pipe.Add(command_reply.bytes, 1, command_reply.length - 1);
   gateway.pipe.EndLine();
  }
