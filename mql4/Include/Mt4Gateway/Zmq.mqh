// The few calls of libzmq.dll that we need, and one socket class that never blocks.
//
// MetaTrader 4 is a 32-bit process, so libzmq's pointers are ints here.
#ifndef MT4GATEWAY_ZMQ_MQH
#define MT4GATEWAY_ZMQ_MQH

#import "libzmq.dll"
int zmq_ctx_new();
int zmq_ctx_term(int context);
int zmq_socket(int context, int type);
int zmq_close(int socket);
int zmq_bind(int socket, const uchar &endpoint[]);
int zmq_connect(int socket, const uchar &endpoint[]);
int zmq_setsockopt(int socket, int option, const uchar &value[], int size);
int zmq_getsockopt(int socket, int option, uchar &value[], int &size[]);
int zmq_recv(int socket, uchar &buffer[], int size, int flags);
int zmq_send(int socket, const uchar &buffer[], int size, int flags);
int zmq_errno();
#import

#define ZMQ_REP 4
#define ZMQ_XPUB 9   // a PUB that tells who subscribes
#define ZMQ_DONTWAIT 1
#define ZMQ_SNDMORE 2
#define ZMQ_RCVMORE 13
#define ZMQ_LINGER 17
#define ZMQ_MAXMSGSIZE 22
#define ZMQ_SNDHWM 23
#define ZMQ_RCVHWM 24
#define ZMQ_XPUB_VERBOSE 40
#define ZMQ_CURVE_SERVER 47
#define ZMQ_CURVE_PUBLICKEY 48
#define ZMQ_CURVE_SECRETKEY 49
#define ZMQ_CURVE_SERVERKEY 50
#define ZMQ_HEARTBEAT_IVL 75
#define ZMQ_HEARTBEAT_TIMEOUT 77

// The zero-terminated bytes of an ASCII text.
void AsciiBytes(string text, uchar &bytes[])
  {
   int length = StringLen(text);
   ArrayResize(bytes, length + 1);
   for(int i = 0; i < length; i++)
      bytes[i] = (uchar)(StringGetCharacter(text, i) & 127);
   bytes[length] = 0;
  }

class ZmqSocket
  {
private:
   int               context;
   int               handle;

public:
                     ZmqSocket() { context = 0; handle = 0; }
   bool              IsOpen() const { return(handle != 0); }
   bool              Open(int type);
   void              Close();
   bool              Set(int option, int value);
   bool              Set64(int option, long value);
   bool              Attach(string endpoint, bool is_client);
   bool              SetCurve(string secret_key, string public_key, string server_key, bool is_client);
   bool              SetKey(int option, string key);
   int               Receive(uchar &buffer[], int size);
   bool              HasMore();
   bool              Send(const uchar &bytes[], int length, int flags);
  };

bool ZmqSocket::Open(int type)
  {
   Close();
   context = zmq_ctx_new();
   if(context == 0)
      return(false);
   handle = zmq_socket(context, type);
   if(handle == 0)
      return(false);
   return(Set(ZMQ_LINGER, 0));
  }

// With a linger of 0 neither call waits.
void ZmqSocket::Close()
  {
   if(handle != 0 && zmq_close(handle) != 0)
      Print("WARNING zmq_close_failed errno=" + IntegerToString(zmq_errno()));
   if(context != 0 && zmq_ctx_term(context) != 0)
      Print("WARNING zmq_ctx_term_failed errno=" + IntegerToString(zmq_errno()));
   handle = 0;
   context = 0;
  }

bool ZmqSocket::Set(int option, int value)
  {
   uchar bytes[4];
   for(int i = 0; i < 4; i++)
      bytes[i] = (uchar)((value >> (8 * i)) & 255);
   return(zmq_setsockopt(handle, option, bytes, 4) == 0);
  }

bool ZmqSocket::Set64(int option, long value)
  {
   uchar bytes[8];
   for(int i = 0; i < 8; i++)
      bytes[i] = (uchar)((value >> (8 * i)) & 255);
   return(zmq_setsockopt(handle, option, bytes, 8) == 0);
  }

// Encrypt. Who connects proves itself with both its keys and checks the gateway's; who is connected
// to has only its own secret key, and takes whoever knows its public one.
bool ZmqSocket::SetCurve(string secret_key, string public_key, string server_key, bool is_client)
  {
   if(!SetKey(ZMQ_CURVE_SECRETKEY, secret_key))
      return(false);
   if(!is_client)
      return(Set(ZMQ_CURVE_SERVER, 1));
   return(SetKey(ZMQ_CURVE_PUBLICKEY, public_key) && SetKey(ZMQ_CURVE_SERVERKEY, server_key));
  }

// The 40 characters of a Z85 key; libzmq takes them with their terminating zero.
bool ZmqSocket::SetKey(int option, string key)
  {
   uchar bytes[];
   AsciiBytes(key, bytes);
   return(StringLen(key) == 40 && zmq_setsockopt(handle, option, bytes, 41) == 0);
  }

// Are the inputs for encryption all there, or none of them?
bool AreCurveKeysGood(string secret_key, string public_key, string server_key, bool is_client)
  {
   int wanted = (secret_key == "") ? 0 : 40;
   int of_client = is_client ? wanted : 0;
   return(StringLen(secret_key) == wanted && StringLen(public_key) == of_client && StringLen(server_key) == of_client);
  }

// Bind, or connect to a gateway that binds.
bool ZmqSocket::Attach(string endpoint, bool is_client)
  {
   uchar bytes[];
   AsciiBytes(endpoint, bytes);
   return((is_client ? zmq_connect(handle, bytes) : zmq_bind(handle, bytes)) == 0);
  }

// The whole length of the next frame, -1 if there is none. What is beyond `size` is cut off.
int ZmqSocket::Receive(uchar &buffer[], int size)
  {
   return(zmq_recv(handle, buffer, size, ZMQ_DONTWAIT));
  }

// Does the frame just received belong to a message with further frames?
bool ZmqSocket::HasMore()
  {
   uchar value[4];
   int size[1];
   size[0] = 4;
   ArrayInitialize(value, 0);
   if(zmq_getsockopt(handle, ZMQ_RCVMORE, value, size) != 0)
      return(false);
   return(value[0] != 0);
  }

bool ZmqSocket::Send(const uchar &bytes[], int length, int flags)
  {
   return(zmq_send(handle, bytes, length, ZMQ_DONTWAIT | flags) == length);
  }

#endif
